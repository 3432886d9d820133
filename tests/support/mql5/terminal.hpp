// What the parts of the stand-in terminal share.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "mql5.hpp"

namespace terminal {

// The settings of a run: a file of lines `key=value`.
void read_scenario(const std::string &path);
std::string setting(const std::string &key, const std::string &missing);
long number(const std::string &key, long missing);
const std::vector<std::string> &list(const std::string &key);  // parts between commas

// The clock, UTC. It moves in Sleep, while SQLite waits, and where a scenario says so.
long now_ms();
void advance(long milliseconds);
int offset_minutes(long utc);  // the server's, at an instant

void set_error(int code);

struct Bar {
  long utc, server;
  double open, high, low, close;
};

// The market as it is at `now` (Unix seconds); the newest bar is the forming one.
const std::vector<Bar> &bars(const std::string &symbol, long now);
double buffer_value(const std::string &symbol, int indicator, int buffer, const std::vector<Bar> &bars, size_t place);
int buffers_of(int indicator);
const std::vector<std::string> &indicator_names();
int digits_of(const std::string &symbol);
std::vector<std::string> symbols();
void dump(const std::string &path, long now);

long last_commit();  // when a transaction was committed last, Unix seconds
}  // namespace terminal
