// The stand-in terminal's market: bars and indicator buffers that depend on nothing but symbol, time and scenario.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <set>

#include "terminal.hpp"

namespace terminal {
namespace {
const long BAR = 300;
const double NAN_VALUE = std::numeric_limits<double>::quiet_NaN();
const int COUNTS[] = {10, 6, 7, 10, 4, 2};  // buffers of each indicator
enum { FRACTALS, DIAGONALS, MOMENTUM, KELTNER, AVERAGES, ZIGZAG };

struct Handle {
  std::string symbol;
  int indicator;
};
std::vector<Handle> handles;
std::map<std::string, int> created;
std::set<std::string> selected;
long copies = 0;

uint64_t mixed(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

uint64_t hashed(const std::string &symbol, long one, long other) {
  uint64_t seed = 1469598103934665603ULL;
  for (char letter : symbol)
    seed = (seed ^ uint64_t(letter)) * 1099511628211ULL;
  return mixed(mixed(seed + uint64_t(one) * 0x9e3779b97f4a7c15ULL) + uint64_t(other));
}

double unit(const std::string &symbol, long one, long other) { return double(hashed(symbol, one, other) >> 11) / 9007199254740992.0; }

double rounded(double price, int digits) {
  double scale = std::pow(10.0, digits);
  return std::round(price * scale) / scale;
}

struct Quote {
  int digits;
  double level;
};

// `symbols` lists name:digits:level.
const Quote &quote_of(const std::string &symbol) {
  static std::map<std::string, Quote> known;
  auto found = known.find(symbol);
  if (found != known.end())
    return found->second;
  for (const std::string &each : list("symbols")) {
    size_t colon = each.find(':'), second = each.find(':', colon + 1);
    if (each.substr(0, colon) == symbol)
      return known[symbol] = {std::stoi(each.substr(colon + 1)), std::stod(each.substr(second + 1))};
  }
  critical("no such symbol: " + symbol);
}

double close_of(const std::string &symbol, long index) {
  double level = quote_of(symbol).level;
  double price = level * (1 + 0.01 * std::sin(double(index) / 50) + 0.002 * (unit(symbol, index, 1) - 0.5));
  return rounded(price, digits_of(symbol));
}

Bar bar_at(const std::string &symbol, long utc, long now) {
  long index = utc / BAR;
  int digits = digits_of(symbol);
  double level = quote_of(symbol).level;
  double open = close_of(symbol, index - 1), final_close = close_of(symbol, index);
  // the forming bar moves every ten seconds
  double elapsed = double(std::min(now - utc, BAR) / 10 * 10) / BAR;
  double close = rounded(open + (final_close - open) * elapsed, digits);
  double reach = level * 0.001 * elapsed;
  double high = rounded(std::max(open, close) + reach * unit(symbol, index, 2), digits);
  double low = rounded(std::min(open, close) - reach * unit(symbol, index, 3), digits);
  return {utc, utc + offset_minutes(utc) * 60, open, high, low, close};
}

// 1970-01-01 was a Thursday; closed from Friday 22:00 to Sunday 22:00 UTC.
bool is_open(long utc) {
  if (setting("weekends", "open") == "open")
    return true;
  long minute = (utc / 60 + 3 * 1440) % 10080;
  return !(minute >= 4 * 1440 + 22 * 60 && minute < 6 * 1440 + 22 * 60);
}

long until(const std::string &key) { return number(key, 0); }

// A bar opens between two calls: the call of that number finds the clock moved on.
void maybe_jump() {
  if (++copies == number("jump_at_copy", 0))
    advance(BAR * 1000);
}
}  // namespace

const std::vector<std::string> &indicator_names() {
  static const std::vector<std::string> names = {
      "Fractal Horizontal Line_V5",
      "Fractal Diagonal Line_V4",
      "Body Size Momentum Candle_V2",
      "Keltner Channel_ATF_10 Bands",
      "TEMA_HRMA_SMA-SMMA_Modified Buffers",
      "ZigZagColor & MarketStructure_JSON Export_V27_TXT Input",
  };
  return names;
}

int buffers_of(int indicator) { return COUNTS[indicator]; }
int digits_of(const std::string &symbol) { return quote_of(symbol).digits; }

std::vector<std::string> symbols() {
  std::vector<std::string> names;
  for (const std::string &each : list("symbols"))
    names.push_back(each.substr(0, each.find(':')));
  return names;
}

const std::vector<Bar> &bars(const std::string &symbol, long now) {
  static std::map<std::string, std::pair<long, std::vector<Bar>>> known;  // of the moment asked for last
  auto &[moment, found] = known[symbol];
  if (moment == now)
    return found;
  moment = now;
  found.clear();
  long first = number("begin", number("start", 0) / BAR * BAR - number("history", 1000) * BAR);
  for (long utc = first; utc <= now; utc += BAR)
    if (is_open(utc)) {
      Bar bar = bar_at(symbol, utc, now);
      if (found.empty() || bar.server > found.back().server)  // in the hour that comes twice
        found.push_back(bar);
    }
  return found;
}

double buffer_value(const std::string &symbol, int indicator, int buffer, const std::vector<Bar> &bars, size_t place) {
  const Bar &bar = bars[place];
  long index = bar.utc / BAR, key = indicator * 100 + buffer;
  uint64_t chance = hashed(symbol, index, 1000 + key);
  double level = quote_of(symbol).level;
  long block = index / 17;
  switch (indicator) {
  case FRACTALS:
    if (buffer < 4)
      return chance % 9 ? EMPTY_VALUE : (buffer % 2 ? bar.low : bar.high);
    if (hashed(symbol, block, key) % 3 == 0)
      return EMPTY_VALUE;
    return level * (1 + 0.01 * unit(symbol, block, key));
  case DIAGONALS:
    if (hashed(symbol, block, key) % 3 == 0)
      return chance % 2 ? EMPTY_VALUE : 0.0;
    return level * (1 + 0.01 * unit(symbol, block, key) + (buffer < 3 ? 1 : -1) * 0.0001 * double(index % 17));
  case MOMENTUM:
    if (buffer == 4)
      return double(chance % 40 < 6 ? chance % 40 : 0);
    return buffer == 6 && chance % 3 ? 6 * unit(symbol, index, key) - 3 : 0.0;
  case KELTNER:
    return place < 20 || chance % 200 == 0 ? 0.0 : bar.close + level * 0.001 * (4.5 - buffer);
  case AVERAGES:
    if (place < 30 || chance % 100 == 0)
      return chance % 4 == 0 ? NAN_VALUE : chance % 4 == 1 ? EMPTY_VALUE : 0.0;
    return bar.close * (1 + 0.0001 * (buffer + 1));
  default:
    return chance % 13 ? 0.0 : (buffer ? bar.low : bar.high);
  }
}

void dump(const std::string &path, long now) {
  std::FILE *file = std::fopen(path.c_str(), "w");
  for (const std::string &symbol : symbols()) {
    std::fprintf(file, "symbol %s %d\n", symbol.c_str(), digits_of(symbol));
    const std::vector<Bar> &all = bars(symbol, now);
    for (size_t place = 0; place < all.size(); place++) {
      const Bar &bar = all[place];
      std::fprintf(file, "%ld %ld %a %a %a %a", bar.utc, bar.server, bar.open, bar.high, bar.low, bar.close);
      for (int indicator = 0; indicator < 6; indicator++)
        for (int buffer = 0; buffer < COUNTS[indicator]; buffer++)
          std::fprintf(file, " %a", buffer_value(symbol, indicator, buffer, all, place));
      std::fprintf(file, "\n");
    }
  }
  std::fclose(file);
}
}  // namespace terminal

using namespace terminal;

int SymbolsTotal(bool) { return int(symbols().size()); }
string SymbolName(int place, bool) { return string(symbols()[size_t(place)]); }
bool SymbolSelect(const string &name, bool) {
  std::vector<std::string> known = symbols();
  if (std::find(known.begin(), known.end(), name.std()) == known.end()) {
    set_error(4301);
    return false;
  }
  selected.insert(name.std());
  return true;
}
long SymbolInfoInteger(const string &name, ENUM_SYMBOL_INFO_INTEGER) { return digits_of(name.std()); }
int PeriodSeconds(ENUM_TIMEFRAMES) { return int(BAR); }

// Bars of symbols that are not in Market Watch are not there.
int Bars(const string &symbol, ENUM_TIMEFRAMES) {
  return selected.count(symbol.std()) ? int(bars(symbol.std(), now_ms() / 1000).size()) : 0;
}

int CopyRates(const string &symbol, ENUM_TIMEFRAMES, int start, int count, Array<MqlRates> &rates) {
  maybe_jump();
  if (!selected.count(symbol.std()) || symbol.std().empty() || now_ms() / 1000 < until("rates_from")) {
    set_error(4401);
    return -1;
  }
  const std::vector<Bar> &all = bars(symbol.std(), now_ms() / 1000);
  int available = std::min(count, int(all.size()) - start);
  if (available < 1)
    return -1;
  ArrayResize(rates, available);
  for (int i = 0; i < available; i++) {
    const Bar &bar = all[all.size() - size_t(start) - size_t(available) + size_t(i)];
    rates.physical(i) = {datetime(bar.server), bar.open, bar.high, bar.low, bar.close, 1, 1, 0};
  }
  return available;
}

int iCustom(const string &symbol, ENUM_TIMEFRAMES, const string &name) {
  const std::vector<std::string> &names = indicator_names();
  auto found = std::find(names.begin(), names.end(), name.std());
  const std::vector<std::string> &absent = list("absent");
  if (found == names.end() || std::find(absent.begin(), absent.end(), name.std()) != absent.end()) {
    set_error(4802);
    std::printf("terminal: iCustom %s failed\n", name.std().c_str());
    return INVALID_HANDLE;
  }
  std::printf("terminal: iCustom %s %d\n", symbol.std().c_str(), ++created[symbol.std() + name.std()]);
  handles.push_back({symbol.std(), int(found - names.begin())});
  return int(handles.size()) + 9;
}

int BarsCalculated(int handle) {
  const Handle &known = handles[size_t(handle - 10)];
  int count = int(bars(known.symbol, now_ms() / 1000).size());
  bool is_short = setting("short", "") == indicator_names()[size_t(known.indicator)] && now_ms() / 1000 < until("short_until");
  return is_short ? count - 1 : count;
}

int CopyBuffer(int handle, int buffer, datetime from, datetime to, Array<double> &values) {
  maybe_jump();
  const Handle &known = handles[size_t(handle - 10)];
  const std::string &name = indicator_names()[size_t(known.indicator)];
  if (buffer < 0 || buffer >= COUNTS[known.indicator] ||
      (setting("failing", "") == name && now_ms() / 1000 < until("failing_until"))) {
    set_error(4806);
    return -1;
  }
  const std::vector<Bar> &all = bars(known.symbol, now_ms() / 1000);
  std::vector<double> found;
  for (size_t place = 0; place < all.size(); place++)
    if (all[place].server >= long(from) && all[place].server <= long(to))
      found.push_back(buffer_value(known.symbol, known.indicator, buffer, all, place));
  ArrayResize(values, int(found.size()));
  for (size_t i = 0; i < found.size(); i++)
    values.physical(int(i)) = found[i];
  return int(found.size());
}

bool IndicatorRelease(int) { return true; }
