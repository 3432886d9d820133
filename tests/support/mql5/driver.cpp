// Runs the collector, or asks one of its functions: `run`, `symbols`, `utc`.
#include <cstdio>
#include <iostream>

#include "terminal.hpp"
#include "DataCollector.mq5"

namespace {
// How long the program may still run after the stop flag before the terminal kills it.
const long GRACE_MS = 3000;

int run() {
  OnStart();
  std::string path = terminal::setting("dump", "");
  if (!path.empty())
    terminal::dump(path, terminal::last_commit());
  long late = terminal::now_ms() - terminal::number("stop", 0) * 1000;
  if (late > GRACE_MS && terminal::number("speed", 0) == 0) {
    std::printf("terminal: killed, it ran %ld ms after the stop\n", late);
    return 3;
  }
  return 0;
}

// Broker's names, one a line, to the project's symbols.
int name_symbols() {
  Array<string> suffixes;
  SplitList(Suffixes, suffixes);
  for (std::string line; std::getline(std::cin, line);)
    std::printf("%s\n", ProjectSymbol(string(line), suffixes).std().c_str());
  return 0;
}

// Server times, one a line, to UTC, as seen at the moment of the scenario.
int name_instants() {
  CServerTime time;
  if (!time.Configure(ServerUtcOffset) || !time.Update())
    return 2;
  for (std::string line; std::getline(std::cin, line);)
    std::printf("%ld\n", long(time.ToUtc(datetime(std::stol(line)))));
  return 0;
}
}  // namespace

int main(int count, char **arguments) {
  std::string task = count > 1 ? arguments[1] : "run";
  return task == "symbols" ? name_symbols() : task == "utc" ? name_instants() : run();
}
