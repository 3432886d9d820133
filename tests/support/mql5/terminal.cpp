// The stand-in terminal: its clock, its texts, and the errors of the last call.
#include "terminal.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>
#include <thread>

namespace terminal {
namespace {
// A function's own, for the inputs are read before the variables of another file exist.
std::map<std::string, std::string> &settings() {
  static std::map<std::string, std::string> known;
  return known;
}

int last_error = 0;
long clock_ms = 0;

std::chrono::steady_clock::time_point started;

std::string trimmed(const std::string &text, bool left) {
  const char *blanks = " \t\r\n";
  if (left) {
    size_t first = text.find_first_not_of(blanks);
    return first == std::string::npos ? "" : text.substr(first);
  }
  return text.substr(0, text.find_last_not_of(blanks) + 1);
}
}  // namespace

void critical(const std::string &error) {
  std::printf("critical error: %s\n", error.c_str());
  std::fflush(stdout);
  std::_Exit(4);
}

void print(const std::string &line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

void read_scenario(const std::string &path) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    size_t equal = line.find('=');
    if (equal != std::string::npos)
      settings()[line.substr(0, equal)] = line.substr(equal + 1);
  }
  clock_ms = number("start", 0) * 1000;
  started = std::chrono::steady_clock::now();
}

// Inputs are read before main, so the scenario's path comes from the environment.
std::string input_text(const char *name, const std::string &value) {
  if (settings().empty())
    if (const char *path = std::getenv("SCENARIO"))
      read_scenario(path);
  return setting(std::string("input.") + name, value);
}

std::string setting(const std::string &key, const std::string &missing) {
  auto found = settings().find(key);
  return found == settings().end() ? missing : found->second;
}

long number(const std::string &key, long missing) {
  auto found = settings().find(key);
  return found == settings().end() ? missing : std::stol(found->second);
}

const std::vector<std::string> &list(const std::string &key) {
  static std::map<std::string, std::vector<std::string>> known;
  auto [found, is_new] = known.try_emplace(key);
  std::stringstream text(is_new ? setting(key, "") : "");
  for (std::string part; std::getline(text, part, ',');)
    found->second.push_back(part);
  return found->second;
}

long now_ms() { return clock_ms; }
void advance(long milliseconds) { clock_ms += milliseconds; }
void set_error(int code) { last_error = code; }

int offset_minutes(long utc) {
  int minutes = 0;  // the scenario lists `from:minutes` in the order of time
  for (const std::string &part : list("offsets")) {
    size_t colon = part.find(':');
    if (utc >= std::stol(part.substr(0, colon)))
      minutes = std::stoi(part.substr(colon + 1));
  }
  return minutes;
}
}  // namespace terminal

using namespace terminal;

const string _Symbol;
string Symbol() { return string(); }
ENUM_TIMEFRAMES Period() { return PERIOD_CURRENT; }

int GetLastError() { return last_error; }
void ResetLastError() { last_error = 0; }
bool IsStopped() { return now_ms() >= number("stop", 0) * 1000; }
ulong GetTickCount64() { return ulong(now_ms() - number("start", 0) * 1000 + 1000000); }

// With a speed, the clock follows the real one so many times faster; else only this moves it.
void Sleep(int milliseconds) {
  if (long speed = number("speed", 0)) {
    std::this_thread::sleep_for(std::chrono::microseconds(milliseconds * 1000L / speed));
    std::chrono::duration<double, std::milli> real = std::chrono::steady_clock::now() - started;
    clock_ms = number("start", 0) * 1000 + long(real.count() * double(speed));
  } else {
    advance(milliseconds);
  }
}

datetime TimeGMT() { return datetime(now_ms() / 1000); }
datetime TimeTradeServer() {
  long utc = now_ms() / 1000;
  return datetime(utc + offset_minutes(utc) * 60 + number("clock_error", 0));
}
int TerminalInfoInteger(ENUM_TERMINAL_INFO_INTEGER) { return now_ms() / 1000 >= number("connected_from", 0); }

bool TimeToStruct(datetime time, MqlDateTime &parts) {
  time_t seconds = long(time);
  std::tm known = {};
  gmtime_r(&seconds, &known);
  parts = {known.tm_year + 1900, known.tm_mon + 1, known.tm_mday, known.tm_hour,
           known.tm_min,         known.tm_sec,     known.tm_wday, known.tm_yday};
  return true;
}

datetime StructToTime(MqlDateTime &parts) {
  std::tm known = {};
  known.tm_year = parts.year - 1900;
  known.tm_mon = parts.mon - 1;
  known.tm_mday = parts.day;
  known.tm_hour = parts.hour;
  known.tm_min = parts.min;
  known.tm_sec = parts.sec;
  return datetime(long(timegm(&known)));
}

int StringLen(const string &text) { return int(text.std().size()); }
int StringFind(const string &text, const string &wanted, int start) {
  size_t found = text.std().find(wanted.std(), size_t(start));
  return found == std::string::npos ? -1 : int(found);
}
string StringSubstr(const string &text, int start, int length) {
  if (start < 0 || size_t(start) > text.std().size())
    return string();
  return string(text.std().substr(size_t(start), length < 0 ? std::string::npos : size_t(length)));
}
ushort StringGetCharacter(const string &text, int place) {
  if (place < 0 || size_t(place) >= text.std().size())
    return 0;
  return ushort(uchar(text.std()[size_t(place)]));
}
int StringSplit(const string &text, ushort separator, Array<string> &parts) {
  std::vector<std::string> found(1);
  for (char letter : text.std())
    if (letter == char(separator))
      found.push_back("");
    else
      found.back() += letter;
  int count = text.std().empty() ? 0 : int(found.size());
  ArrayResize(parts, count);
  for (int i = 0; i < count; i++)
    parts[i] = string(found[size_t(i)]);
  return count;
}
int StringTrimLeft(string &text) {
  int before = StringLen(text);
  text = string(trimmed(text.std(), true));
  return before - StringLen(text);
}
int StringTrimRight(string &text) {
  int before = StringLen(text);
  text = string(trimmed(text.std(), false));
  return before - StringLen(text);
}
bool StringToUpper(string &text) {
  std::string upper = text.std();
  for (char &letter : upper)
    if (letter >= 'a' && letter <= 'z')
      letter = char(letter - 'a' + 'A');
  text = string(upper);
  return true;
}
long StringToInteger(const string &text) { return std::strtol(text.std().c_str(), nullptr, 10); }
string IntegerToString(long number) { return string(std::to_string(number)); }
string DoubleToString(double value, int digits) {
  char text[400];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return string(text);
}
