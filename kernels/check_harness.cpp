// check_harness.cpp - loading a library, guarded buffers, comparing.
#include <dlfcn.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "check.h"
#include "convert.h"

namespace check {
namespace {

constexpr int64_t GUARD = 256;
constexpr int GUARD_BYTE = 0xa5;

bool has(const std::string &json, const char *text) { return json.find(text) != std::string::npos; }

}  // namespace

uint64_t Random::next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

float Random::normal() {  // Box & Muller 1958
  const double u = 1.0 - static_cast<double>(next() >> 11) * 0x1p-53;
  const double v = static_cast<double>(next() >> 11) * 0x1p-53;
  return static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v));
}

std::vector<float> Random::normals(int64_t count, float scale) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float &value : values) value = normal() * scale;
  return values;
}

float round_bf16(float value) { return kn::f32_from_bf16(kn::bf16_from_f32(value)); }

Target::Target(const Options &given) : options(given) {
  handle_ = dlopen(given.library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle_) throw std::runtime_error(dlerror());
#define X(fn)                                                     \
  fn = reinterpret_cast<decltype(fn)>(dlsym(handle_, "kn_" #fn)); \
  if (!fn) throw std::runtime_error("library lacks kn_" #fn);
  KN_FUNCTIONS(X)
#undef X
  if (abi_version() != KN_ABI_VERSION) throw std::runtime_error("library has another ABI version");
  const std::string json = "{\"dtype\":\"" + given.dtype + "\",\"isa\":\"" + given.isa +
                           "\",\"threads\":" + std::to_string(given.threads) + ",\"cublaslt\":\"" + given.cublaslt +
                           "\",\"matmul\":\"" + given.matmul +
                           "\",\"deterministic\":" + (given.deterministic ? "true" : "false") + ",\"wgmma\":" + (given.wgmma ? "true" : "false") + "}";
  ok(device_create(json.c_str(), &device), "kn_device_create");
  char text[8192];
  ok(device_info(device, text, sizeof text), "kn_device_info");
  info = text;
  cuda = has(info, "\"backend\":\"cuda\"") || has(info, "\"backend\": \"cuda\"");
  w_bf16 = has(info, "\"weightBytes\":2") || has(info, "\"weightBytes\": 2");
  x_bf16 = has(info, "\"activationBytes\":2") || has(info, "\"activationBytes\": 2");
  exact = !cuda || given.deterministic;
}

Target::~Target() {
  if (device) device_destroy(device);
  if (handle_) dlclose(handle_);
}

void Target::ok(int32_t status, const char *what) const {
  if (status == KN_OK) return;
  char text[2048] = "";
  last_error(device, text, sizeof text);
  throw std::runtime_error(std::string(what) + ": status " + std::to_string(status) + ": " + text);
}

Buffer::Buffer(Target &target, int64_t bytes) : target_(&target), bytes_(bytes) {
  const double all = static_cast<double>((bytes + 255) / 256 * 256 + 2 * GUARD);
  target.ok(target.buffer_alloc(target.device, all, &address_), "kn_buffer_alloc");
  target.ok(target.buffer_fill(target.device, address_, GUARD_BYTE, all), "kn_buffer_fill");
  poison();
}
Buffer::Buffer(Buffer &&other) noexcept : target_(other.target_), bytes_(other.bytes_), address_(other.address_) {
  other.address_ = 0;
}
Buffer::~Buffer() {
  if (address_) target_->buffer_free(target_->device, address_);
}

void Buffer::poison() {
  if (bytes_ > 0) target_->ok(target_->buffer_fill(target_->device, at(), 0xff, static_cast<double>(bytes_)), "kn_buffer_fill");
}
void Buffer::write(const void *source, int64_t bytes) {
  if (bytes > 0) target_->ok(target_->upload(target_->device, at(), source, static_cast<double>(bytes)), "kn_upload");
}
std::vector<char> Buffer::read() const {
  std::vector<char> out(static_cast<size_t>(bytes_));
  if (bytes_ > 0) target_->ok(target_->download(target_->device, out.data(), at(), static_cast<double>(bytes_)), "kn_download");
  return out;
}

bool Buffer::guards_intact() const {
  const int64_t after = (bytes_ + 255) / 256 * 256 + GUARD - bytes_;  // to the end of the allocation
  std::vector<unsigned char> zone(static_cast<size_t>(GUARD + after));
  target_->ok(target_->download(target_->device, zone.data(), address_, GUARD), "kn_download");
  target_->ok(target_->download(target_->device, zone.data() + GUARD, at(bytes_), static_cast<double>(after)), "kn_download");
  for (const unsigned char byte : zone) {
    if (byte != GUARD_BYTE) return false;
  }
  return true;
}

namespace {

Buffer make(Target &target, std::vector<float> &values, bool bf16) {
  Buffer buffer(target, static_cast<int64_t>(values.size()) * (bf16 ? 2 : 4));
  if (bf16) {
    std::vector<uint16_t> halves(values.size());
    for (size_t i = 0; i < values.size(); i++) values[i] = kn::f32_from_bf16(halves[i] = kn::bf16_from_f32(values[i]));
    buffer.write(halves.data(), buffer.bytes());
  } else {
    buffer.write(values.data(), buffer.bytes());
  }
  return buffer;
}

std::vector<float> read(const Buffer &buffer, bool bf16) {
  const std::vector<char> bytes = buffer.read();
  std::vector<float> values(bytes.size() / (bf16 ? 2 : 4));
  for (size_t i = 0; i < values.size(); i++) {
    uint16_t half;
    if (!bf16) {
      std::memcpy(&values[i], bytes.data() + i * 4, 4);
    } else {
      std::memcpy(&half, bytes.data() + i * 2, 2);
      values[i] = kn::f32_from_bf16(half);
    }
  }
  return values;
}

}  // namespace

Buffer make_x(Target &target, std::vector<float> &values) { return make(target, values, target.x_bf16); }
Buffer make_w(Target &target, std::vector<float> &values) { return make(target, values, target.w_bf16); }
Buffer make_vector(Target &target, std::vector<float> &values) {
  Buffer buffer(target, static_cast<int64_t>(values.size()) * target.w_size());
  target.ok(target.vector_load(target.device, buffer, values.data(), static_cast<int32_t>(values.size())), "kn_vector_load");
  for (float &value : values) value = target.to_w(value);
  return buffer;
}
Buffer make_ints(Target &target, const std::vector<int32_t> &values) {
  Buffer buffer(target, static_cast<int64_t>(values.size()) * 4);
  buffer.write(values.data(), buffer.bytes());
  return buffer;
}
Buffer make_floats(Target &target, const std::vector<float> &values) {
  Buffer buffer(target, static_cast<int64_t>(values.size()) * 4);
  buffer.write(values.data(), buffer.bytes());
  return buffer;
}
Buffer make_weight(Target &target, std::vector<float> &values, int32_t n, int32_t k) {
  double bytes = 0;
  target.ok(target.weight_bytes(target.device, n, k, &bytes), "kn_weight_bytes");
  Buffer buffer(target, static_cast<int64_t>(bytes));
  target.ok(target.weight_load(target.device, buffer, values.data(), KN_F32, n, k), "kn_weight_load");
  for (float &value : values) value = target.to_w(value);
  return buffer;
}
std::vector<float> read_x(const Target &target, const Buffer &buffer) { return read(buffer, target.x_bf16); }
std::vector<float> read_w(const Target &target, const Buffer &buffer) { return read(buffer, target.w_bf16); }
std::vector<float> read_floats(const Buffer &buffer) { return read(buffer, false); }
std::vector<int32_t> read_ints(const Buffer &buffer) {
  const std::vector<char> bytes = buffer.read();
  std::vector<int32_t> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), values.size() * 4);
  return values;
}

void Case::near(double got, double expected, double tolerance, const char *what, int64_t index) {
  const double error = std::fabs(got - expected) / tolerance;
  if (error <= tally_.worst) return;
  if (std::isfinite(error)) tally_.worst = error;
  if (error <= 1) return;
  char text[256];
  std::snprintf(text, sizeof text, "%s[%lld] is %.9g, expected %.9g +- %.3g", what, static_cast<long long>(index), got, expected,
                tolerance);
  fail(text);
}

void Case::same(int64_t got, int64_t expected, const char *what, int64_t index) {
  if (got == expected) return;
  fail(std::string(what) + "[" + std::to_string(index) + "] is " + std::to_string(got) + ", expected " + std::to_string(expected));
}

void Case::same_bytes(const std::vector<char> &got, const std::vector<char> &expected, const char *what) {
  if (got.size() != expected.size()) return fail(std::string(what) + ": sizes differ");
  for (size_t i = 0; i < got.size(); i++) {
    if (got[i] != expected[i]) return fail(std::string(what) + ": not bit-equal from byte " + std::to_string(i));
  }
}

void Case::guards(std::initializer_list<const Buffer *> buffers) {
  int index = 0;
  for (const Buffer *buffer : buffers) {
    if (!buffer->guards_intact()) fail("memory around buffer " + std::to_string(index) + " was written");
    index++;
  }
}

void Case::fail(const std::string &text) {
  if (tally_.failures++ == 0) tally_.first_failure = name_ + ": " + text;
}

std::string label(std::initializer_list<std::pair<const char *, int64_t>> parts) {
  std::string text;
  for (const auto &[name, value] : parts) {
    if (!text.empty()) text += ' ';
    text += name;
    text += '=';
    text += std::to_string(value);
  }
  return text;
}

}  // namespace check
