/* matmul_rows.cuh - the product of one token with a small matrix, a warp to a row: what matmul_rows.cu and layer.cu share.
 *
 * For matrices that fit the registers of the GPU once (a layer of SmolLM2: 0.7 to 3.5 MB): every row is asked for before the previous
 * kernel has ended (griddep_wait), so that what remains behind the wait is a chain of a few hundred cycles. Lane l holds the 16-byte
 * units l, l + 32, ... of its rows and the same units of the token, so no shared memory and no barrier stands between them. */
#ifndef PAGEDBENCH_MATMUL_ROWS_CUH
#define PAGEDBENCH_MATMUL_ROWS_CUH

#include "device.cuh"

constexpr int kRowWarps = 4;

/* UNITS 16-byte units a lane: K up to 256 * UNITS. */
template <int UNITS>
struct RowPart {
  uint4 unit[UNITS];

  __device__ __forceinline__ void request(const bf16 *row, int k, int lane) {
#pragma unroll
    for (int u = 0; u < UNITS; u++) {
      const int at = 8 * (lane + 32 * u);
      unit[u] = at < k ? load_stream(row + at) : make_uint4(0, 0, 0, 0);
    }
  }
};

/* The lane's part of a token, f32; what lies beyond K is 0. */
template <int UNITS>
struct TokenPart {
  float x[UNITS][8];

  __device__ __forceinline__ void load(const bf16 *token, int k, int lane) {
#pragma unroll
    for (int u = 0; u < UNITS; u++) {
      const int at = 8 * (lane + 32 * u);
      unpack8(at < k ? *reinterpret_cast<const uint4 *>(token + at) : make_uint4(0, 0, 0, 0), x[u]);
    }
  }
};

/* The whole sum in every lane. */
template <int UNITS>
static __device__ __forceinline__ float row_product(const RowPart<UNITS> &row, const TokenPart<UNITS> &token) {
  float sum = 0.0f;
#pragma unroll
  for (int u = 0; u < UNITS; u++) {
    float w[8];
    unpack8(row.unit[u], w);
#pragma unroll
    for (int j = 0; j < 8; j++) sum = fmaf(w[j], token.x[u][j], sum);
  }
  return warp_sum(sum);
}

/* Whether `warps` warps of this width find room at once: 12 warps of up to 160 registers a thread on each SM. */
static inline bool fits_one_wave(const kn_device *device, int k, long long warps) {
  return k % 8 == 0 && k <= 2048 && warps <= 12ll * device->multiprocessors;
}

/* Calls launch(std::integral_constant<int, UNITS>) with the least UNITS that holds k. */
template <typename Launch>
static inline int32_t with_units(int k, Launch &&launch) {
  if (k <= 768) return launch(std::integral_constant<int, 3>{});
  if (k <= 1536) return launch(std::integral_constant<int, 6>{});
  return launch(std::integral_constant<int, 8>{});
}

#endif
