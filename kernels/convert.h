// convert.h - bf16 and f16 to and from f32, one number at a time. bf16 is the upper half of an f32; f16 is IEEE binary16.
#pragma once

#include <cstdint>
#include <cstring>

namespace kn {

inline float f32_from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

inline float f32_from_bf16(uint16_t half) { return f32_from_bits(static_cast<uint32_t>(half) << 16); }

// To nearest even; NaN stays NaN.
inline uint16_t bf16_from_f32(float value) {
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float f32_from_f16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = half >> 10 & 0x1f;
  const uint32_t mantissa = half & 0x3ff;
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24
    const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
    return f32_from_bits(bits_of(magnitude) | sign);
  }
  if (exponent == 31) return f32_from_bits(sign | 0x7f800000u | mantissa << 13);
  return f32_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

}  // namespace kn
