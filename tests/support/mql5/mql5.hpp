// The part of MQL5 that the collector uses, in C++: as strict as the terminal, and stricter where that is free.
#pragma once

#include <cmath>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;

// A text without conversions from numbers, which MQL5 makes with a warning.
class string {
  std::string text_;

public:
  string() {}
  string(const char *text) : text_(text) {}
  explicit string(const std::string &text) : text_(text) {}
  const std::string &std() const { return text_; }
  string &operator+=(const string &other) {
    text_ += other.text_;
    return *this;
  }
  friend string operator+(const string &one, const string &other) { return string(one.text_ + other.text_); }
  friend bool operator==(const string &one, const string &other) { return one.text_ == other.text_; }
  friend bool operator!=(const string &one, const string &other) { return one.text_ != other.text_; }
};

inline string S(const char *literal) { return string(literal); }

// Seconds since 1970. Whole numbers become one only by a cast, but for the literal 0.
class datetime {
  long seconds_ = 0;

public:
  datetime() {}
  datetime(int seconds) : seconds_(seconds) {}
  explicit datetime(long seconds) : seconds_(seconds) {}
  explicit operator long() const { return seconds_; }
  friend bool operator==(datetime one, datetime other) { return one.seconds_ == other.seconds_; }
  friend bool operator<(datetime one, datetime other) { return one.seconds_ < other.seconds_; }
  friend bool operator<=(datetime one, datetime other) { return one.seconds_ <= other.seconds_; }
  friend bool operator>(datetime one, datetime other) { return one.seconds_ > other.seconds_; }
  friend bool operator>=(datetime one, datetime other) { return one.seconds_ >= other.seconds_; }
};

namespace terminal {
[[noreturn]] void critical(const std::string &error);  // ends the program, as the terminal does
std::string input_text(const char *name, const std::string &value);
inline string input(const char *name, const string &value) { return string(input_text(name, value.std())); }
inline int input(const char *name, int value) { return std::stoi(input_text(name, std::to_string(value))); }
inline bool input(const char *name, bool value) { return input_text(name, value ? "true" : "false") == "true"; }
void print(const std::string &line);
}  // namespace terminal

// A dynamic array: out of range is a critical error, and what ArrayResize adds is not zero.
template <typename T> class Array {
  std::unique_ptr<T[]> items_;
  int size_ = 0;
  bool is_series_ = false;

  int place(int index) const {
    if (index < 0 || index >= size_)
      terminal::critical("array out of range: " + std::to_string(index) + " of " + std::to_string(size_));
    return is_series_ ? size_ - 1 - index : index;
  }

public:
  Array() {}
  Array(std::initializer_list<T> values) {
    resize(int(values.size()));
    int index = 0;
    for (const T &value : values)
      items_[index++] = value;
  }
  Array(const Array &other) { *this = other; }
  Array &operator=(const Array &other) {
    if (this != &other) {
      resize(other.size_);
      for (int i = 0; i < size_; i++)
        items_[i] = other.items_[i];
      is_series_ = other.is_series_;
    }
    return *this;
  }
  int size() const { return size_; }
  void set_series(bool is_series) { is_series_ = is_series; }
  T &physical(int index) { return items_[index]; }  // the oldest first, whatever the direction of the index
  T &operator[](int index) { return items_[place(index)]; }
  const T &operator[](int index) const { return items_[place(index)]; }
  void resize(int size) {
    std::unique_ptr<T[]> items(new T[size_t(size)]());
    for (int i = 0; i < size; i++)
      if (i < size_)
        items[i] = items_[i];
      else if constexpr (std::is_arithmetic_v<T>)
        std::memset(static_cast<void *>(&items[i]), std::is_same_v<T, bool> ? 1 : 0x5a, sizeof(T));
    items_ = std::move(items);
    size_ = size;
  }
};

template <typename T> int ArraySize(const Array<T> &array) { return array.size(); }
template <typename T> int ArrayResize(Array<T> &array, int size) {
  array.resize(size);
  return size;
}
template <typename T> bool ArraySetAsSeries(Array<T> &array, bool flag) {
  array.set_series(flag);
  return true;
}

const double EMPTY_VALUE = std::numeric_limits<double>::max();
const int INVALID_HANDLE = -1;

enum ENUM_TIMEFRAMES { PERIOD_CURRENT = 0, PERIOD_M5 = 5, PERIOD_M15 = 15, PERIOD_H1 = 16385 };
enum ENUM_SYMBOL_INFO_INTEGER { SYMBOL_DIGITS };
enum ENUM_TERMINAL_INFO_INTEGER { TERMINAL_CONNECTED };
enum ENUM_DATABASE_OPEN_FLAGS { DATABASE_OPEN_READWRITE = 2, DATABASE_OPEN_CREATE = 4, DATABASE_OPEN_COMMON = 16 };

struct MqlDateTime {
  int year, mon, day, hour, min, sec, day_of_week, day_of_year;
};
struct MqlRates {
  datetime time;
  double open, high, low, close;
  long tick_volume;
  int spread;
  long real_volume;
};

// A service has no chart.
extern const string _Symbol;
string Symbol();
ENUM_TIMEFRAMES Period();

template <typename... Parts> void Print(const Parts &...parts) {
  std::string line;
  ((line += string(parts).std()), ...);
  terminal::print(line);
}

namespace terminal {
inline ENUM_TIMEFRAMES input(const char *name, ENUM_TIMEFRAMES value) {
  return ENUM_TIMEFRAMES(std::stoi(input_text(name, std::to_string(int(value)))));
}
}  // namespace terminal

int GetLastError();
void ResetLastError();
bool IsStopped();
void Sleep(int milliseconds);
ulong GetTickCount64();
datetime TimeGMT();
datetime TimeTradeServer();
bool TimeToStruct(datetime time, MqlDateTime &parts);
datetime StructToTime(MqlDateTime &parts);
int TerminalInfoInteger(ENUM_TERMINAL_INFO_INTEGER property);

int StringLen(const string &text);
int StringFind(const string &text, const string &wanted, int start = 0);
string StringSubstr(const string &text, int start, int length = -1);
ushort StringGetCharacter(const string &text, int place);
int StringSplit(const string &text, ushort separator, Array<string> &parts);
int StringTrimLeft(string &text);
int StringTrimRight(string &text);
bool StringToUpper(string &text);
long StringToInteger(const string &text);
string IntegerToString(long number);
string DoubleToString(double value, int digits = 8);
inline double MathAbs(double value) { return std::fabs(value); }
inline int MathAbs(int value) { return value < 0 ? -value : value; }
inline double MathSqrt(double value) { return std::sqrt(value); }
inline double MathRound(double value) { return std::round(value); }
inline double MathMax(double one, double other) { return one > other ? one : other; }
inline double MathMin(double one, double other) { return one < other ? one : other; }
inline bool MathIsValidNumber(double value) { return std::isfinite(value); }

int SymbolsTotal(bool is_selected);
string SymbolName(int place, bool is_selected);
bool SymbolSelect(const string &name, bool select);
long SymbolInfoInteger(const string &name, ENUM_SYMBOL_INFO_INTEGER property);
int PeriodSeconds(ENUM_TIMEFRAMES timeframe);
int Bars(const string &symbol, ENUM_TIMEFRAMES timeframe);
int CopyRates(const string &symbol, ENUM_TIMEFRAMES timeframe, int start, int count, Array<MqlRates> &rates);
int iCustom(const string &symbol, ENUM_TIMEFRAMES timeframe, const string &name);
int BarsCalculated(int handle);
int CopyBuffer(int handle, int buffer, datetime from, datetime to, Array<double> &values);
bool IndicatorRelease(int handle);

int DatabaseOpen(const string &name, uint flags);
void DatabaseClose(int database);
bool DatabaseExecute(int database, const string &sql);
int DatabasePrepare(int database, const string &sql);
bool DatabaseBind(int request, int index, double value);
bool DatabaseBind(int request, int index, long value);
bool DatabaseBind(int request, int index, int value);
bool DatabaseBind(int request, int index, bool value);
bool DatabaseBind(int request, int index, const string &value);
bool DatabaseRead(int request);
bool DatabaseReset(int request);
void DatabaseFinalize(int request);
bool DatabaseColumnText(int request, int column, string &value);
bool DatabaseTransactionBegin(int database);
bool DatabaseTransactionCommit(int database);
bool DatabaseTransactionRollback(int database);
