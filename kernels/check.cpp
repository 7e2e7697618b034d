// check.cpp - tries any library of kernels.h: every operation over a table of shapes, with fresh random inputs and poisoned
// outputs, against plain scalar references in f64 written here. Tolerance = the rounding expected for the type and the length,
// times a stated slack; "worst" is the largest error as a share of it.
//
//   check --library PATH [--dtype f32|bf16] [--seed N] [--op NAME] [--quick] [--isa NAME] [--threads N] [--deterministic]
//         [--cublaslt PATH] [--no-wgmma] [--matmul auto|library|hopper:V] [--time] [--json FILE]
//
// Exit code: 0 all within tolerance, 1 not, 2 wrong arguments or no device. Runs under compute-sanitizer as it is.
#include "check.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace {

struct Result {
  std::string op;
  check::Tally tally;
  double seconds;
};

bool parse(int count, char **arguments, check::Options &options) {
  for (int i = 1; i < count; i++) {
    const std::string flag = arguments[i];
    const auto value = [&]() -> std::string { return i + 1 < count ? arguments[++i] : ""; };
    if (flag == "--library") options.library = value();
    else if (flag == "--dtype") options.dtype = value();
    else if (flag == "--seed") options.seed = std::strtoull(value().c_str(), nullptr, 10);
    else if (flag == "--op") options.op = value();
    else if (flag == "--isa") options.isa = value();
    else if (flag == "--threads") options.threads = std::atoi(value().c_str());
    else if (flag == "--cublaslt") options.cublaslt = value();
    else if (flag == "--matmul") options.matmul = value();
    else if (flag == "--json") options.json = value();
    else if (flag == "--deterministic") options.deterministic = true;
    else if (flag == "--no-wgmma") options.wgmma = false;
    else if (flag == "--quick") options.quick = true;
    else if (flag == "--time") options.time = true;
    else return std::fprintf(stderr, "unknown argument %s\n", flag.c_str()), false;
  }
  if (options.library.empty())
    std::fprintf(stderr,
                 "usage: check --library PATH [--dtype f32|bf16] [--op NAME] [--quick] [--time] [--seed N] [--json FILE]\n");
  return !options.library.empty();
}

std::vector<check::Suite> suites(const std::string &only) {
  std::vector<check::Suite> chosen;
  for (const auto *part : {&check::row_suites(), &check::matmul_suites(), &check::rope_suites(), &check::attention_suites(),
                           &check::layer_suites(), &check::sample_suites(), &check::step_suites(), &check::graph_suites()}) {
    for (const check::Suite &suite : *part) {
      if (only.empty() || only == suite.op) chosen.push_back(suite);
    }
  }
  return chosen;
}

Result run(const check::Suite &suite, check::Target &target) {
  Result result{suite.op, {}, 0};
  // A seed of its own for each operation: --op NAME repeats exactly what the whole table did.
  uint64_t seed = target.options.seed;
  for (const char *c = suite.op; *c; c++) seed = seed * 1099511628211ull + static_cast<unsigned char>(*c);
  check::Random random(seed);
  const auto start = std::chrono::steady_clock::now();
  const auto fail = [&](const std::string &text) {
    if (result.tally.failures++ == 0) result.tally.first_failure = text;
  };
  try {
    suite.run(target, random, result.tally);
  } catch (const std::exception &error) {
    fail(error.what());
  } catch (const std::string &text) {
    fail(text);
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

void print(const Result &result) {
  const check::Tally &tally = result.tally;
  std::printf("%-14s %6d %9d %8.3f %8.1f s", result.op.c_str(), tally.cases, tally.failures, tally.worst, result.seconds);
  if (tally.by_margin > 0) std::printf("  (%lld tokens decided within the tolerance)", static_cast<long long>(tally.by_margin));
  std::printf("\n");
  if (tally.failures > 0) std::printf("    FAILED: %s\n", tally.first_failure.c_str());
  std::fflush(stdout);
}

std::string escape(const std::string &text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out;
}

void write_json(const check::Target &target, const std::vector<Result> &results) {
  std::ofstream file(target.options.json);
  file << "{\"schema\":1,\"seed\":" << target.options.seed << ",\"device\":" << target.info << ",\"ops\":[";
  for (size_t i = 0; i < results.size(); i++) {
    const check::Tally &tally = results[i].tally;
    file << (i ? "," : "") << "{\"op\":\"" << results[i].op << "\",\"cases\":" << tally.cases << ",\"failures\":" << tally.failures
         << ",\"worstErrorShare\":" << tally.worst << ",\"tokensByMargin\":" << tally.by_margin << ",\"firstFailure\":\""
         << escape(tally.first_failure) << "\"}";
  }
  file << "]}\n";
}

}  // namespace

int main(int count, char **arguments) {
  check::Options options;
  if (!parse(count, arguments, options)) return 2;
  try {
    check::Target target(options);
    std::printf("%s\n", target.info.c_str());
    const std::vector<check::Suite> chosen = suites(options.op);
    if (chosen.empty()) throw std::runtime_error("no operation is called " + options.op);
    std::printf("%-14s %6s %9s %8s\n", "operation", "cases", "failures", "worst");
    std::vector<Result> results;
    int failures = 0;
    for (const check::Suite &suite : chosen) {
      results.push_back(run(suite, target));
      print(results.back());
      failures += results.back().tally.failures;
    }
    if (!options.json.empty()) write_json(target, results);
    if (options.time) {
      check::Random random(options.seed);
      check::time_operations(target, random);
    }
    std::printf(failures ? "FAILED: %d comparisons\n" : "all within tolerance\n", failures);
    return failures ? 1 : 0;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "check: %s\n", error.what());
    return 2;
  }
}
