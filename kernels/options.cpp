#include "options.h"

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <map>

#include "failure.h"

namespace kn {
namespace {

using Fields = std::map<std::string, std::string>;

Fields parse_object(const char *json);
int64_t to_integer(const std::string &key, const std::string &text);
void parse_fault(const std::string &fault, Options &options);

}  // namespace

Options parse_options(const char *json) {
  Options options;
  if (json == nullptr || *json == '\0') return options;
  for (const auto &[key, value] : parse_object(json)) {
    if (key == "dtype") {
      if (value != "f32" && value != "bf16") fail(KN_INVALID_ARGUMENT, "option dtype: '%s' is neither f32 nor bf16", value.c_str());
      options.bf16 = value == "bf16";
    } else if (key == "threads") {
      const int64_t threads = to_integer(key, value);
      if (threads < 0 || threads > 1024) fail(KN_INVALID_ARGUMENT, "option threads: %s is not in 0..1024", value.c_str());
      options.threads = static_cast<int>(threads);
    } else if (key == "isa") {
      options.isa = value;
    } else if (key == "fault") {
      parse_fault(value, options);
    }
  }
  return options;
}

namespace {

struct Reader {
  const char *at;
  void space() {
    while (std::isspace(static_cast<unsigned char>(*at))) at++;
  }
  bool take(char c) {
    space();
    if (*at != c) return false;
    at++;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(KN_INVALID_ARGUMENT, "options: expected '%c' before '%.20s'", c, at);
  }
  std::string text() {
    expect('"');
    std::string out;
    while (*at && *at != '"') {
      if (*at == '\\' && at[1]) at++;
      out += *at++;
    }
    expect('"');
    return out;
  }
  // A string, number, true, false or null as its text. Nested values have no place in these options.
  std::string scalar() {
    space();
    if (*at == '"') return text();
    const char *start = at;
    while (*at && !std::strchr(",}{[] \n\t\r", *at)) at++;
    if (at == start) fail(KN_INVALID_ARGUMENT, "options: expected a value before '%.20s'", start);
    return std::string(start, at);
  }
};

Fields parse_object(const char *json) {
  Fields fields;
  Reader reader{json};
  reader.expect('{');
  if (!reader.take('}')) {
    do {
      const std::string key = reader.text();
      reader.expect(':');
      fields[key] = reader.scalar();
    } while (reader.take(','));
    reader.expect('}');
  }
  reader.space();
  if (*reader.at) fail(KN_INVALID_ARGUMENT, "options: text after the object: '%.20s'", reader.at);
  return fields;
}

int64_t to_integer(const std::string &key, const std::string &text) {
  char *end = nullptr;
  const long long value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end) fail(KN_INVALID_ARGUMENT, "option %s: '%s' is not an integer", key.c_str(), text.c_str());
  return value;
}

void parse_fault(const std::string &fault, Options &options) {
  if (fault.empty()) return;
  if (fault.rfind("alloc:", 0) == 0) options.fail_alloc = to_integer("fault", fault.substr(6));
  else if (fault.rfind("launch:", 0) == 0) options.fail_launch = to_integer("fault", fault.substr(7));
  else fail(KN_INVALID_ARGUMENT, "option fault: '%s' is neither alloc:N nor launch:N", fault.c_str());
}

}  // namespace
}  // namespace kn
