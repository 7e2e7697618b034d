/* random.h - the counter-based generators that both backends share, so that seeded weights and draws are equal everywhere. */
#ifndef PAGEDBENCH_RANDOM_H
#define PAGEDBENCH_RANDOM_H

#include <stdint.h>

#ifdef __CUDACC__
#define KN_HD __host__ __device__ __forceinline__
#else
#define KN_HD static inline
#endif

/* hash32(seed, index): two rounds of the 32-bit finaliser "lowbias32" by Chris Wellons
 * (https://nullprogram.com/blog/2018/07/31/) over the low and the high half of the index. */
KN_HD uint32_t kn_mix32(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  x ^= x >> 16;
  return x;
}
KN_HD uint32_t kn_hash32(uint32_t seed, uint64_t index) {
  const uint32_t low = kn_mix32((uint32_t)index ^ kn_mix32(seed + 0x9e3779b9u));
  return kn_mix32(low + (uint32_t)(index >> 32) * 0x85ebca6bu + seed);
}

/* One word of Philox4x32-10 (Salmon et al., SC'11, "Parallel random numbers: as easy as 1, 2, 3"): word 0 of the block with
 * key (k0, k1) and counter (c0, c1, c2, c3). */
KN_HD uint32_t kn_philox(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = (uint64_t)0xD2511F53u * c0;
    const uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
    const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c1 = (uint32_t)p1;
    c3 = (uint32_t)p0;
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c0;
}
/* u in (0, 1): never 0 and never 1, 24 bits (Philox word >> 8, plus a half). */
KN_HD float kn_uniform(uint32_t word) { return ((float)(word >> 8) + 0.5f) * (1.0f / 16777216.0f); }

#endif
