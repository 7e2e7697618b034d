/* embedding.cu - out [T, width] = table [V, width][ids [T]]. 4 bytes moved an element (2 read, 2 written): bound by bandwidth,
 * by latency below some hundred tokens. An id outside the vocabulary gives zeros. */
#include "device.cuh"

template <int V>
static __global__ void embedding_kernel(bf16 *out, const bf16 *table, const int32_t *ids, int vocab, int width) {
  griddep_wait();
  griddep_launch();
  const int id = ids[blockIdx.x];
  bf16 *to = out + (long long)blockIdx.x * width;
  const bf16 *from = table + (long long)id * width;
  const bool known = id >= 0 && id < vocab;
  for (int i = V * threadIdx.x; i < width; i += V * blockDim.x) {
    float values[V] = {};
    if (known) load_values<V>(from + i, values);
    store_values<V>(to + i, values);
  }
}

extern "C" int32_t kn_embedding(kn_device *device, kn_addr out, kn_addr table, kn_addr ids, int32_t tokens, int32_t vocab, int32_t width) {
  KN_OPERATION(device, "kn_embedding");
  KN_REQUIRE(device, tokens >= 0 && vocab > 0 && width > 0, "kn_embedding: tokens %d, vocab %d, width %d", tokens, vocab, width);
  KN_REQUIRE(device, tokens == 0 || (out && table && ids), "kn_embedding: an address is absent");
  const bool vectors = width % 8 == 0 && aligned16(out) && aligned16(table);
  return launch(device, "kn_embedding", vectors ? embedding_kernel<8> : embedding_kernel<1>, tokens, 256, 0, pointer<bf16>(out),
                pointer<bf16>(table), pointer<int32_t>(ids), vocab, width);
}
