/* kernels.h - the one C ABI between the engines (TypeScript, through kernels/binding.ts) and a backend.
 *
 * Two libraries implement it: libkernels-cpu.so (kernels/<op>.cpp) and libkernels-cuda.so (kernels/<op>.cu).
 *
 * Rules
 *  - Every function returns a status (KN_OK = 0). No exception and no abort crosses this boundary; the text of the last
 *    failure on a device is read with kn_last_error. Functions are called from one thread per device.
 *  - `kn_addr` is an address in the device's memory (on the CPU backend: an ordinary pointer). Addresses are below 2^53,
 *    so JavaScript holds them exactly in a number and adds byte offsets itself. 0 means "absent" where a parameter says so.
 *  - Types are fixed when the device is created (option "dtype"): `w` = type of weights and of the KV cache, `x` = type of
 *    activations. cpu/f32: w f32, x f32. cpu/bf16: w bf16, x f32. cuda/bf16: w bf16, x bf16. Logits are always f32.
 *    kn_device_info tells the sizes. All accumulation is f32.
 *  - Operations are enqueued in order on the device's one compute stream and may return before they are done. The CPU
 *    backend is done when the call returns. Nothing that varies between two replays of a captured graph is a scalar
 *    argument: lengths, positions, block tables, slots and sampling parameters are read from device buffers.
 *  - A row's result must not depend on which other rows stand in the batch, nor on how a prompt was cut into chunks (CPU
 *    backend: always, bit for bit; CUDA: with option "deterministic").
 *  - Tensors are dense and row-major; the shape stands in brackets. T = tokens of the step, R = rows (sequences) of the
 *    step, S = rows that sample, V = vocabulary, D = head dimension (64 or 128), H / G = query / KV heads.
 */
#ifndef PAGEDBENCH_KERNELS_H
#define PAGEDBENCH_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KN_ABI_VERSION 2
#define KN_EXPORT __attribute__((visibility("default")))

typedef uint64_t kn_addr;
typedef struct kn_device kn_device;

typedef enum {
  KN_OK = 0,
  KN_INVALID_ARGUMENT = 1, /* a shape, address or option is impossible; the text names it */
  KN_OUT_OF_MEMORY = 2,    /* device or pinned memory; the text carries the sizes */
  KN_NO_DEVICE = 3,        /* no GPU, no driver, driver too old, unsupported compute capability */
  KN_LAUNCH_FAILED = 4,    /* a kernel or copy failed; the device is lost, every later call returns this */
  KN_UNSUPPORTED = 5,      /* the backend cannot do this (e.g. a head dimension) */
  KN_TIMEOUT = 6,          /* kn_event_wait ran out of time; not an error of the device */
  KN_INTERNAL = 7
} kn_status;

typedef enum { KN_F32 = 0, KN_BF16 = 1, KN_F16 = 2, KN_I32 = 3 } kn_dtype;

/* ---- life cycle ---------------------------------------------------------------------------------------------------- */

KN_EXPORT int32_t kn_abi_version(void);

/* options: JSON object. Common: {"dtype":"f32"|"bf16", "deterministic":bool, "fault":""}.
 *   cpu:  "threads": int (0 = as many as cores), "isa": "auto"|"avx512bf16"|"avx512"|"avx2"|"portable"
 *   cuda: "device": int, "cublaslt": path or "" (search) or "none"; "matmul_choices": file that keeps what kn_matmul chose, or "",
 *         "wgmma": bool (true; false: prefill attention by mma.sync on compute capability 9.0 too),
 *         "matmul": "auto"|"library" (no Hopper kernel of our own)|"hopper:V" (its variant V wherever it can run, to try it)
 *   fault (tests): "alloc:N" - the Nth kn_buffer_alloc fails; "launch:N" - the Nth operation fails and the device is lost.
 * On failure *device is NULL and kn_last_error(NULL, ...) has the text. */
KN_EXPORT int32_t kn_device_create(const char *options, kn_device **device);
KN_EXPORT int32_t kn_device_destroy(kn_device *device);

/* Writes a JSON object, NUL-terminated, at most `size` bytes: {"backend":"cpu"|"cuda","name","isa"|"computeCapability",
 *   "threads"|"multiprocessors","dtype","weightBytes","activationBytes","kvBytes" (bytes per element),"activationDtype",
 *   "memoryTotalBytes","driver","runtime","cublaslt","uuid","pciBusId"} - absent fields are null. */
KN_EXPORT int32_t kn_device_info(kn_device *device, char *json, int32_t size);
KN_EXPORT int32_t kn_last_error(kn_device *device, char *text, int32_t size);

/* Bytes of device memory: free now, total, and the most this device ever held through kn_buffer_alloc. */
KN_EXPORT int32_t kn_memory_info(kn_device *device, double *free_bytes, double *total_bytes, double *peak_bytes);

/* ---- memory -------------------------------------------------------------------------------------------------------- */

/* Device memory, 256-byte aligned, contents undefined. */
KN_EXPORT int32_t kn_buffer_alloc(kn_device *device, double bytes, kn_addr *address);
KN_EXPORT int32_t kn_buffer_free(kn_device *device, kn_addr address);
KN_EXPORT int32_t kn_buffer_fill(kn_device *device, kn_addr address, int32_t byte_value, double bytes);

/* Pinned host memory: JavaScript views it without a copy (koffi.view). */
KN_EXPORT int32_t kn_host_alloc(kn_device *device, double bytes, kn_addr *host_address);
KN_EXPORT int32_t kn_host_free(kn_device *device, kn_addr host_address);

/* Blocking copies from and to ordinary host memory. */
KN_EXPORT int32_t kn_upload(kn_device *device, kn_addr destination, const void *source, double bytes);
KN_EXPORT int32_t kn_download(kn_device *device, void *destination, kn_addr source, double bytes);
/* Copies on the compute stream; host side must be kn_host_alloc memory (an address inside it). */
KN_EXPORT int32_t kn_upload_async(kn_device *device, kn_addr destination, kn_addr host_source, double bytes);
KN_EXPORT int32_t kn_download_async(kn_device *device, kn_addr host_destination, kn_addr source, double bytes);

/* ---- order --------------------------------------------------------------------------------------------------------- */

KN_EXPORT int32_t kn_event_create(kn_device *device, int32_t *event);
KN_EXPORT int32_t kn_event_destroy(kn_device *device, int32_t event);
KN_EXPORT int32_t kn_event_record(kn_device *device, int32_t event);
/* *done = 1 when everything before the record is finished. */
KN_EXPORT int32_t kn_event_query(kn_device *device, int32_t event, int32_t *done);
KN_EXPORT int32_t kn_event_wait(kn_device *device, int32_t event, int32_t timeout_ms);
KN_EXPORT int32_t kn_event_elapsed(kn_device *device, int32_t start, int32_t end, float *milliseconds);
KN_EXPORT int32_t kn_synchronize(kn_device *device);

/* ---- graphs: the same operation calls between begin and end are recorded instead of run ------------------------------ */

KN_EXPORT int32_t kn_graph_begin(kn_device *device);
KN_EXPORT int32_t kn_graph_end(kn_device *device, int32_t *graph);
KN_EXPORT int32_t kn_graph_launch(kn_device *device, int32_t graph);
KN_EXPORT int32_t kn_graph_destroy(kn_device *device, int32_t graph);

/* ---- weights ------------------------------------------------------------------------------------------------------- */

/* A weight matrix [N, K] lies in a layout of the backend's choice (the CPU packs it for its GEMM) in kn_weight_bytes bytes.
 * It serves kn_matmul and kn_embedding alike, so tied embeddings are held once. */
KN_EXPORT int32_t kn_weight_bytes(kn_device *device, int32_t n, int32_t k, double *bytes);
/* source: host memory [N, K] of source_dtype (F32, BF16 or F16); converts, packs, uploads. Blocking. */
KN_EXPORT int32_t kn_weight_load(kn_device *device, kn_addr weight, const void *source, int32_t source_dtype, int32_t n, int32_t k);
/* Seeded random weights made on the device, equal on every backend: element (r, c) = scale * sqrt(3) * (2u - 1),
 * u = (h >> 8) / 2^24, h = hash32(seed, r * K + c) [mix: kernels/random.h], computed in f32, rounded to w (nearest even). */
KN_EXPORT int32_t kn_weight_random(kn_device *device, kn_addr weight, int32_t n, int32_t k, int32_t seed, float scale);
/* A vector [N] of type w from host f32 (norm weights, biases), in kn_vector_bytes = N * weightBytes bytes. */
KN_EXPORT int32_t kn_vector_load(kn_device *device, kn_addr vector, const float *source, int32_t n);

/* ---- step preparation ------------------------------------------------------------------------------------------------ */

/* The staging block: int32, written by engines/batch.ts into pinned memory, copied to the device by kn_upload_async, then
 * expanded by kn_step_prepare. Sections at fixed offsets (in int32 elements), from the limits max_rows, max_changes, max_tokens:
 *   header       [16]               see KN_STEP_*
 *   row_slot     [max_rows]         slot of the row
 *   row_start    [max_rows]         position of the row's first token in this step (= tokens of it already in the cache)
 *   row_source   [max_rows]         index of its first token in `tokens`, or -1: the token ids stand in the slot's history
 *   query_start  [max_rows + 1]     prefix sums of the rows' token counts: row r owns step tokens query_start[r] .. [r+1]-1
 *   sample_row   [max_rows]         the S rows whose last token gets logits and a sampled token
 *   changes      [2 * max_changes]  pairs (flat index into slot_table, value), applied first
 *   tokens       [max_tokens]       new token ids (prompt chunks)
 * Rows with one token that only decode stand first (KN_STEP_DECODE_ROWS of them). Rows that pad a graph bucket are ordinary
 * rows that name the dummy slot; their block table names the dummy block 0. */
enum {
  KN_STEP_ROWS = 0,
  KN_STEP_TOKENS = 1,
  KN_STEP_SAMPLES = 2,
  KN_STEP_CHANGES = 3,
  KN_STEP_DECODE_ROWS = 4,
  KN_STEP_HEADER = 16
};

/* slot_table: int32 [max_slots, KN_SLOT_BLOCKS + max_blocks]: the sampling state of a slot, then its block table.
 * Floats are stored by their bits. */
enum {
  KN_SLOT_TEMPERATURE = 0, /* f32; below 1e-6: greedy */
  KN_SLOT_TOP_K = 1,       /* i32; 0 or less: off */
  KN_SLOT_TOP_P = 2,       /* f32; 1: off. On temperature-scaled probabilities, after top-k */
  KN_SLOT_MIN_P = 3,       /* f32; 0: off. Keep p >= min_p * max p, after temperature */
  KN_SLOT_REPETITION = 4,  /* f32; 1: off. Over prompt and output, as Hugging Face: l > 0 ? l / r : l * r */
  KN_SLOT_PRESENCE = 5,    /* f32; 0: off. Over output tokens, as OpenAI */
  KN_SLOT_FREQUENCY = 6,   /* f32; 0: off */
  KN_SLOT_SEED_LOW = 7,    /* u32 */
  KN_SLOT_SEED_HIGH = 8,   /* u32 */
  KN_SLOT_PROMPT = 9,      /* i32: prompt tokens; history[PROMPT ..] is output */
  KN_SLOT_MIN_LENGTH = 10, /* i32: while prompt + output < this, the stop ids below have logit -inf */
  KN_SLOT_STOP_0 = 11,     /* i32: up to four token ids, -1: none */
  KN_SLOT_STOP_1 = 12,
  KN_SLOT_STOP_2 = 13,
  KN_SLOT_STOP_3 = 14,
  KN_SLOT_FLAGS = 15, /* reserved, 0 */
  KN_SLOT_BLOCKS = 16
};

/* history: int32 [max_slots, history_stride]: the token ids of each slot by position; prompt chunks are written by
 * kn_step_prepare, sampled tokens by kn_sample. So a decode step needs no token id from the host.
 *
 * kn_step_prepare applies the changes, then for each row r and each of its tokens t (at position p):
 *   row_source >= 0: history[slot][p] = tokens[row_source + i];   ids[t] = history[slot][p];   positions[t] = p;
 *   kv_slot[t] = block_table[slot][p / block_size] * block_size + p % block_size;
 * and kv_length[r] = row_start[r] + count, sample_index[s] = query_start[sample_row[s] + 1] - 1.
 * Outputs: ids, positions, kv_slot int32 [T]; kv_length int32 [R]; sample_index int32 [S].
 * rows, tokens, samples are the frozen sizes of this step (of the bucket, when captured) and equal the staging header's. */
KN_EXPORT int32_t kn_step_prepare(kn_device *device, kn_addr staging, kn_addr slot_table, kn_addr history, kn_addr ids,
                                  kn_addr positions, kn_addr kv_slot, kn_addr kv_length, kn_addr sample_index, int32_t rows,
                                  int32_t tokens, int32_t samples, int32_t max_rows, int32_t max_changes, int32_t max_tokens,
                                  int32_t slot_stride, int32_t history_stride, int32_t block_size);

/* ---- operations of the forward pass ---------------------------------------------------------------------------------- */

/* out x [T, width] = table w-matrix [V, width], row ids[t]. ids int32 [T]. */
KN_EXPORT int32_t kn_embedding(kn_device *device, kn_addr out, kn_addr table, kn_addr ids, int32_t tokens, int32_t vocab, int32_t width);

/* out x [T, width] = in / sqrt(mean(in^2) + eps) * weight; in x [T, width], weight w [width]. */
KN_EXPORT int32_t kn_rmsnorm(kn_device *device, kn_addr out, kn_addr in, kn_addr weight, int32_t tokens, int32_t width, float eps);
/* residual_out x [T, width] = residual + in (rounded to x); out = rmsnorm(residual_out). residual_out may be residual. */
KN_EXPORT int32_t kn_add_rmsnorm(kn_device *device, kn_addr out, kn_addr residual_out, kn_addr residual, kn_addr in, kn_addr weight,
                                 int32_t tokens, int32_t width, float eps);
/* residual x [T, width] += in. The unfused twin of the above, with kn_rmsnorm. */
KN_EXPORT int32_t kn_add(kn_device *device, kn_addr residual, kn_addr in, int32_t tokens, int32_t width);

/* out [M, N] = in x [M, K] * weight[N, K]^T (+ bias w [N], 0: none). out_dtype: x's type or KN_F32 (logits). */
KN_EXPORT int32_t kn_matmul(kn_device *device, kn_addr out, kn_addr in, kn_addr weight, kn_addr bias, int32_t m, int32_t n, int32_t k,
                            int32_t out_dtype);

/* qkv x [T, (H + 2G) * D]: rotates q (in place) and k by `positions` (halves paired, "rotate half"), then writes k and v of each
 * token to the cache at kv_slot[t]. rope f32 [max_position, D] = D/2 cosines, then D/2 sines of each position.
 * Cache layout of one layer: kv + block * block_stride + ([0: k, 1: v][G][block_size][D]) elements of w; block_stride in bytes
 * (so that all layers of a block can lie together: kv already points at this layer's part). */
KN_EXPORT int32_t kn_rope_store(kn_device *device, kn_addr qkv, kn_addr positions, kn_addr kv_slot, kn_addr rope, kn_addr kv,
                                double block_stride, int32_t block_size, int32_t tokens, int32_t heads, int32_t kv_heads, int32_t head_dim);
/* The unfused twins. */
KN_EXPORT int32_t kn_rope(kn_device *device, kn_addr qkv, kn_addr positions, kn_addr rope, int32_t tokens, int32_t heads,
                          int32_t kv_heads, int32_t head_dim);
KN_EXPORT int32_t kn_kv_store(kn_device *device, kn_addr qkv, kn_addr kv_slot, kn_addr kv, double block_stride, int32_t block_size,
                              int32_t tokens, int32_t heads, int32_t kv_heads, int32_t head_dim);

/* Causal attention of each row's query tokens over that row's whole cache (which holds this step's keys already).
 * out x [T, H * D]; q x, head h of token t at q + (t * q_stride + h * D) elements (the qkv buffer: q_stride = (H + 2G) * D).
 * Row r: queries query_start[r] .. query_start[r+1]-1, cache length kv_length[r], block table slot_table[row_slot[r]][KN_SLOT_BLOCKS ..].
 * The first decode_rows rows have exactly one query. block_size: a power of two >= 16. max_kv: no kv_length exceeds it (sizes grids;
 * in a captured graph, the largest that any replay may see). workspace: at least kn_attention_workspace bytes. */
KN_EXPORT int32_t kn_attention(kn_device *device, kn_addr out, kn_addr q, int32_t q_stride, kn_addr kv, double block_stride,
                               int32_t block_size, kn_addr query_start, kn_addr kv_length, kn_addr row_slot, kn_addr slot_table,
                               int32_t slot_stride, int32_t rows, int32_t decode_rows, int32_t tokens, int32_t heads, int32_t kv_heads,
                               int32_t head_dim, float scale, int32_t max_kv, kn_addr workspace);
KN_EXPORT int32_t kn_attention_workspace(kn_device *device, int32_t max_rows, int32_t max_tokens, int32_t heads, int32_t head_dim,
                                         int32_t max_kv, double *bytes);

/* out x [T, width] = silu(gate_up[:, :width]) * gate_up[:, width:]; gate_up x [T, 2 * width]. */
KN_EXPORT int32_t kn_silu_mul(kn_device *device, kn_addr out, kn_addr gate_up, int32_t tokens, int32_t width);
/* The unfused twins: out x [T, width] = silu(gate_up[:, :width]);  out *= gate_up[:, width:]. */
KN_EXPORT int32_t kn_silu(kn_device *device, kn_addr out, kn_addr gate_up, int32_t tokens, int32_t width);
KN_EXPORT int32_t kn_mul(kn_device *device, kn_addr out, kn_addr gate_up, int32_t tokens, int32_t width);

/* The two chains of a layer that end in a matrix product's epilogue, each as one operation, so that a backend may run it as one kernel
 * (CUDA does for one token of a small model, where a step is a chain of launches, and activates gate and up in the product of many
 * tokens where that was found faster); else it is what the named operations give in turn.
 *
 * kn_attention_input: residual_out x [T, width] = residual + branch (branch 0: the residual as it is, residual_out unused); its rmsnorm by
 * `norm` w [width]; times weight w-matrix [(H + 2G) * D, width] (+ bias); kn_rope_store. After it the q part of qkv x [T, (H + 2G) * D] is
 * rotated, keys and values are in the cache; the k and v parts of qkv and all of normed x [T, width] are scratch.
 * kn_mlp_input: the same sum and norm; times weight w-matrix [2 * inner, width]; kn_silu_mul into gated x [T, inner]. normed and
 * gate_up x [T, 2 * inner] are scratch. residual_out may not be residual. */
KN_EXPORT int32_t kn_attention_input(kn_device *device, kn_addr qkv, kn_addr residual_out, kn_addr normed, kn_addr residual, kn_addr branch,
                                     kn_addr norm, float eps, kn_addr weight, kn_addr bias, kn_addr positions, kn_addr kv_slot,
                                     kn_addr rope, kn_addr kv, double block_stride, int32_t block_size, int32_t tokens, int32_t width,
                                     int32_t heads, int32_t kv_heads, int32_t head_dim);
KN_EXPORT int32_t kn_mlp_input(kn_device *device, kn_addr gated, kn_addr residual_out, kn_addr normed, kn_addr gate_up, kn_addr residual,
                               kn_addr branch, kn_addr norm, float eps, kn_addr weight, int32_t tokens, int32_t width, int32_t inner);

/* out x [S, width] = in[index[s]]; index int32 [S]. */
KN_EXPORT int32_t kn_gather_rows(kn_device *device, kn_addr out, kn_addr in, kn_addr index, int32_t samples, int32_t width);

/* One token per sampling row. logits f32 [S, V] (may be overwritten unless greedy_only). tokens int32 [S].
 * Row s is step row r = sample_row[s]; its slot row_slot[r] gives the sampling state, kv_length[r] = n the position of the new token:
 * the token is written to tokens[s] and to history[slot][n] (when n < history_stride).
 * Order (as vLLM): penalties, min-length ban, temperature, min-p, top-k, top-p, then the draw
 *   argmax over survivors of  logit_scaled[v] - log(-log(u[v])),  u[v] = philox4x32-10(key = seed, counter = (v, n, 0, 0)).
 * Ties: lowest id. So the draw depends on seed, position and logits alone. greedy_only = 1: every row has temperature < 1e-6 and no
 * penalty or ban; then only an argmax runs. workspace: at least kn_sample_workspace bytes. */
KN_EXPORT int32_t kn_sample(kn_device *device, kn_addr tokens, kn_addr logits, kn_addr sample_row, kn_addr row_slot, kn_addr kv_length,
                            kn_addr slot_table, int32_t slot_stride, kn_addr history, int32_t history_stride, int32_t samples,
                            int32_t vocab, int32_t greedy_only, kn_addr workspace);
KN_EXPORT int32_t kn_sample_workspace(kn_device *device, int32_t max_samples, int32_t vocab, double *bytes);

/* Log-probabilities of logits f32 [S, V] (when rows are not greedy, kn_sample overwrites its input: give kn_logprobs a copy
 * made with kn_copy before sampling; the values are those of the raw logits, before penalties and temperature, as vLLM does).
 * tokens int32 [S]: the sampled ids. out_logprob f32 [S, 1 + top]: of the sampled token, then of the `top` most likely,
 * descending; out_token int32 [S, 1 + top] likewise. top <= 20. */
KN_EXPORT int32_t kn_logprobs(kn_device *device, kn_addr out_logprob, kn_addr out_token, kn_addr logits, kn_addr tokens, int32_t samples,
                              int32_t vocab, int32_t top);

/* ---- the machine's own ceiling (bench kernels, bench doctor) --------------------------------------------------------- */

/* destination[0..bytes) = source[0..bytes), as fast as the device can: read + write bandwidth. */
KN_EXPORT int32_t kn_copy(kn_device *device, kn_addr destination, kn_addr source, double bytes);
/* Reads bytes and writes one sum (f32 at out): read bandwidth, the ceiling of decode. */
KN_EXPORT int32_t kn_read(kn_device *device, kn_addr out, kn_addr source, double bytes);

#ifdef __cplusplus
}
#endif
#endif
