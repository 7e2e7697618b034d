// attention.cpp - causal attention of a few queries of one row over its paged keys, with the running softmax of FlashAttention
// (Dao et al. 2022, arXiv 2205.14135; Milakov & Gimelshein 2018, arXiv 1805.02867).
//
// Keys come in tiles of 64 from position 0. A tile's keys are laid out like a packed weight (four panels of 16 keys), its
// values are widened to f32 when many rows share them; both then serve all queries and all query heads of the KV head from the
// first-level cache:
//   S [rows, 64] = q K^T,  P = exp(S * scale - m),  O = O * exp(m_old - m) + P V,     rows = queries * group.
// Each element is one chain in fixed order (d rising for S, position rising for O), so the result does not depend on how many
// queries stand together. Decode is bound by the cache's bytes, prefill by multiply-adds.
#include "loops.h"

namespace kn::KN_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int ROWS = 4;  // rows of a register tile
#elif defined(__AVX2__)
constexpr int ROWS = 2;
#else
constexpr int ROWS = 1;
#endif

struct Tile {
  int64_t rows;         // queries * group
  bool widen;           // values are widened once, not by each register tile
  char *q;              // [rows] in the form matmul reads, x_bytes(D) each
  char *keys;           // packed [64, D]
  float *values;        // [64][D]
  float *scores;        // [rows][64]
  float *out;           // [rows][D]
  float *most, *total;  // [rows]
};

template <class W, int D>
Tile carve(const AttentionTask &task) {
  Tile tile;
  char *at = task.scratch;
  auto take = [&](int64_t bytes) {
    char *here = at;
    at += (bytes + 63) / 64 * 64;
    return here;
  };
  tile.rows = (int64_t)task.queries * task.group;
  tile.widen = tile.rows > 2 * ROWS;
  tile.keys = take(KEY_TILE * D * 4);
  tile.values = (float *)take(KEY_TILE * D * 4);
  tile.q = take(tile.rows * D * 4);
  tile.scores = (float *)take(tile.rows * KEY_TILE * 4);
  tile.out = (float *)take(tile.rows * D * 4);
  tile.most = (float *)take(tile.rows * 4);
  tile.total = (float *)take(tile.rows * 4);
  return tile;
}

// The keys and values of 16 positions: contiguous, since a panel never crosses a block (block_size is a power of two >= 16).
template <class W>
struct Panel {
  const W *keys, *values;  // [16][D]
};

template <class W, int D>
KN_INLINE Panel<W> panel_at(const AttentionTask &task, int32_t position) {
  const char *block = task.kv + task.blocks[position / task.block_size] * task.block_stride;
  const W *keys = (const W *)block + ((int64_t)task.kv_head * task.block_size + (position & (task.block_size - 1))) * D;
  return {keys, keys + (int64_t)task.kv_heads * task.block_size * D};
}

// [16 keys][D] to the packed form [D][16] (bf16: pairs of d together, as dwords).
template <class W, int D>
KN_INLINE void pack_keys(W *packed, const W *keys) {
  constexpr int DWORDS = D * (int)sizeof(W) / 4;
  uint32_t *out = (uint32_t *)packed;
  for (int column = 0; column < DWORDS; column += LANES) {
    for (int lane = 0; lane < PANEL; lane += LANES) {
      Words rows[LANES];
#pragma GCC unroll 16
      for (int i = 0; i < LANES; i++) rows[i] = load_words((const uint32_t *)keys + (lane + i) * DWORDS + column);
      transpose(rows);
#pragma GCC unroll 16
      for (int i = 0; i < LANES; i++) memcpy(out + (column + i) * PANEL + lane, &rows[i], sizeof rows[i]);
    }
  }
}

// Asks for the lines of a panel, as far as the second-level cache (the first has too few outstanding misses for a tile).
// Blocks lie apart, so the processor's own prefetcher starts anew in each.
template <class W, int D>
KN_INLINE void prefetch(const Panel<W> &panel) {
  for (int byte = 0; byte < PANEL * D * (int)sizeof(W); byte += 64) {
    __builtin_prefetch((const char *)panel.keys + byte, 0, 2);
    __builtin_prefetch((const char *)panel.values + byte, 0, 2);
  }
}

// Brings the tile's keys into packed form and notes where its values lie; widens those when many rows will read them. Positions
// beyond `count` in the last panel bring whatever the block holds there: their scores are never looked at.
template <class W, int D>
void load_tile(const AttentionTask &task, const Tile &tile, int32_t first, int32_t count, int32_t end,
               Panel<W> (&panels)[KEY_TILE / PANEL]) {
  for (int32_t i = 0; i < count; i += PANEL) {
    const Panel<W> panel = panels[i / PANEL] = panel_at<W, D>(task, first + i);
    if (first + i + KEY_TILE < end) prefetch<W, D>(panel_at<W, D>(task, first + i + KEY_TILE));
    pack_keys<W, D>((W *)tile.keys + i * D, panel.keys);
    if (!tile.widen) continue;
    const int32_t width = count - i < PANEL ? count - i : PANEL;
    for (int32_t j = 0; j < width * D; j += LANES) store(tile.values + i * D + j, load(panel.values + j));
  }
}

// Turns scores into probabilities relative to the new maximum; returns the factor for what was summed before.
KN_INLINE float soften(const Tile &tile, int64_t row, int32_t count, float scale) {
  float *scores = tile.scores + row * KEY_TILE;
  for (int32_t j = count; j < KEY_TILE; j++) scores[j] = -__builtin_inff();
  Vector most = splat(tile.most[row]);
  for (int j = 0; j < KEY_TILE; j += LANES) {
    const Vector s = load(scores + j) * scale;
    store(scores + j, s);
    most = max(s, most);
  }
  const float peak = max_of(most);
  Vector total = {};
  for (int j = 0; j < KEY_TILE; j += LANES) {
    const Vector p = exp(load(scores + j) - peak);
    store(scores + j, p);
    total = total + p;
  }
  const float factor = peak == tile.most[row] ? 1.0f : exp(splat(tile.most[row] - peak))[0];
  tile.most[row] = peak;
  tile.total[row] = tile.total[row] * factor + sum_of(total);
  return factor;
}

// out[row .. row + R) = out * factor + P V over the tile's first `count` keys, a slice of the head at a time.
template <class V, int D, int R>
KN_INLINE void weigh(const Tile &tile, int64_t row, const float *factor, const V *const *values, int32_t count) {
  constexpr int SLICE = D < 4 * LANES ? D / LANES : 4;  // vectors of the head held in registers
  for (int d = 0; d < D; d += SLICE * LANES) {
    Vector sum[R][SLICE];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int s = 0; s < SLICE; s++) sum[r][s] = load(tile.out + (row + r) * D + d + s * LANES) * factor[r];
    }
    for (int32_t first = 0; first < count; first += PANEL) {
      const V *panel = values[first / PANEL] + d;
      const float *scores = tile.scores + row * KEY_TILE + first;
      const int32_t width = count - first < PANEL ? count - first : PANEL;
      for (int32_t j = 0; j < width; j++) {
        Vector value[SLICE];
#pragma GCC unroll 4
        for (int s = 0; s < SLICE; s++) value[s] = load(panel + j * D + s * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
          const Vector p = splat(scores[r * KEY_TILE + j]);
#pragma GCC unroll 4
          for (int s = 0; s < SLICE; s++) sum[r][s] = fma(p, value[s], sum[r][s]);
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int s = 0; s < SLICE; s++) store(tile.out + (row + r) * D + d + s * LANES, sum[r][s]);
    }
  }
}

template <class V, int D, int R>
KN_INLINE void weigh_rows(int rows, const Tile &tile, int64_t row, const float *factor, const V *const *values, int32_t count) {
  if (rows == R) weigh<V, D, R>(tile, row, factor, values, count);
  else if constexpr (R > 1) weigh_rows<V, D, R - 1>(rows, tile, row, factor, values, count);
}

}  // namespace

template <class W, int D>
void attention(const AttentionTask &task) {
  const Tile tile = carve<W, D>(task);
  const int64_t x_size = x_bytes<W>(D);
  for (int64_t row = 0; row < tile.rows; row++) {
    const float *q = task.q + row / task.group * task.q_stride + row % task.group * D;
    prepare_x<W>(tile.q + row * x_size, q, D);
    tile.most[row] = -__builtin_inff();
    tile.total[row] = 0;
  }
  memset(tile.out, 0, (size_t)(tile.rows * D * 4));

  const int32_t keys = task.first_position + task.queries;
  for (int32_t first = 0; first < keys; first += KEY_TILE) {
    const int32_t count = keys - first < KEY_TILE ? keys - first : KEY_TILE;
    Panel<W> panels[KEY_TILE / PANEL];
    load_tile<W, D>(task, tile, first, count, keys, panels);
    const W *narrow[KEY_TILE / PANEL];
    const float *wide[KEY_TILE / PANEL];
    for (int i = 0; i < (count + PANEL - 1) / PANEL; i++) {
      narrow[i] = panels[i].values;
      wide[i] = tile.values + i * PANEL * D;
    }
    // Queries before the tile's first key see nothing of it.
    int64_t row = first > task.first_position ? (int64_t)(first - task.first_position) * task.group : 0;
    while (row < tile.rows) {
      const int rows = tile.rows - row < ROWS ? (int)(tile.rows - row) : ROWS;
      MatmulTask product{tile.q + row * x_size, x_size, tile.keys, nullptr, tile.scores + row * KEY_TILE, rows, KEY_TILE, D};
      matmul<W>(product, 0, rows, 0, (count + PANEL - 1) / PANEL);
      float factor[ROWS];
      for (int r = 0; r < rows; r++) {
        const int32_t seen = task.first_position + (int32_t)((row + r) / task.group) + 1 - first;
        factor[r] = soften(tile, row + r, seen < count ? seen : count, task.scale);
      }
      if (tile.widen) weigh_rows<float, D, ROWS>(rows, tile, row, factor, wide, count);
      else weigh_rows<W, D, ROWS>(rows, tile, row, factor, narrow, count);
      row += rows;
    }
  }

  for (int64_t row = 0; row < tile.rows; row++) {
    float *out = task.out + row / task.group * task.out_stride + row % task.group * D;
    const float inverse = 1.0f / tile.total[row];
    for (int d = 0; d < D; d += LANES) store(out + d, load(tile.out + row * D + d) * inverse);
  }
}
template void attention<uint16_t, 64>(const AttentionTask &);
template void attention<uint16_t, 128>(const AttentionTask &);
template void attention<float, 64>(const AttentionTask &);
template void attention<float, 128>(const AttentionTask &);

}  // namespace kn::KN_ISA
