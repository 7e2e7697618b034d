/* options.cuh - reads the flat JSON object that kn_device_create takes: strings, numbers, true, false. */
#ifndef PAGEDBENCH_OPTIONS_CUH
#define PAGEDBENCH_OPTIONS_CUH

#include <cctype>
#include <map>
#include <string>

/* key -> value; a string's text without its quotes, anything else as written. Returns false when the text is not such an object. */
static inline bool parse_options(const char *text, std::map<std::string, std::string> &options) {
  const char *p = text;
  const auto space = [&] { while (isspace(static_cast<unsigned char>(*p))) p++; };
  const auto quoted = [&](std::string &out) {
    if (*p++ != '"') return false;
    for (out.clear(); *p && *p != '"'; p++) {
      if (*p == '\\' && *++p == '\0') return false;
      out += *p;
    }
    return *p++ == '"';
  };
  space();
  if (*p++ != '{') return false;
  space();
  while (*p != '}') {
    std::string key, value;
    if (!quoted(key)) return false;
    space();
    if (*p++ != ':') return false;
    space();
    if (*p == '"') {
      if (!quoted(value)) return false;
    } else {
      while (*p && *p != ',' && *p != '}' && !isspace(static_cast<unsigned char>(*p))) value += *p++;
      if (value.empty()) return false;
    }
    options[key] = value;
    space();
    if (*p == ',') {
      p++;
      space();
    } else if (*p != '}') {
      return false;
    }
  }
  return true;
}

#endif
