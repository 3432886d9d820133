// The stand-in terminal's databases: MQL5's functions over real SQLite.
#include <sqlite3.h>

#include <chrono>
#include <cstdio>

#include "terminal.hpp"

namespace terminal {
namespace {
std::vector<sqlite3 *> databases;
std::vector<sqlite3_stmt *> requests;
long committed = 0;
const int NO_MORE_DATA = 5126;

// Where SQLite waits for a lock, the terminal's clock goes on.
class Waiting {
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();

public:
  ~Waiting() {
    std::chrono::duration<double, std::milli> waited = std::chrono::steady_clock::now() - began_;
    if (number("speed", 0) == 0 && waited.count() > 200)
      advance(long(waited.count()));
  }
};

void set_sqlite_error(int code) {
  if ((code & 0xff) == SQLITE_BUSY)
    print("terminal: busy");
  set_error(5600 + (code & 0xff));
}

bool succeeded(int code) {
  if (code != SQLITE_OK)
    set_sqlite_error(code);
  return code == SQLITE_OK;
}

bool execute(int database, const char *sql) {
  Waiting waiting;
  return succeeded(sqlite3_exec(databases.at(size_t(database)), sql, nullptr, nullptr, nullptr));
}

sqlite3_stmt *request_of(int request) {
  if (request < 0 || size_t(request) >= requests.size() || requests[size_t(request)] == nullptr)
    critical("no such request: " + std::to_string(request));
  return requests[size_t(request)];
}

// The code with which writing fails between two moments of a scenario, else 0.
int injected(sqlite3_stmt *statement) {
  bool is_due = now_ms() / 1000 >= number("fail_from", 0) && now_ms() / 1000 < number("fail_until", 0);
  return is_due && !sqlite3_stmt_readonly(statement) ? int(number("fail_code", 0)) : 0;
}
}  // namespace

long last_commit() { return committed; }
}  // namespace terminal

using namespace terminal;

int DatabaseOpen(const string &name, uint flags) {
  const std::string &path = name.std();
  if (path.empty() || path[0] == '/' || path[0] == '\\' || path.find(':') != std::string::npos || path.find("..") != std::string::npos) {
    set_error(5002);
    return INVALID_HANDLE;
  }
  std::string folder = setting(flags & DATABASE_OPEN_COMMON ? "common" : "files", "");
  int how = (flags & DATABASE_OPEN_READWRITE ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) |
            (flags & DATABASE_OPEN_CREATE ? SQLITE_OPEN_CREATE : 0);
  sqlite3 *database = nullptr;
  if (!succeeded(sqlite3_open_v2((folder + "/" + path).c_str(), &database, how, nullptr))) {
    sqlite3_close(database);
    return INVALID_HANDLE;
  }
  databases.push_back(database);
  return int(databases.size()) - 1;
}

void DatabaseClose(int database) {
  if (sqlite3_close(databases.at(size_t(database))) != SQLITE_OK)
    critical("a database is closed that has requests");
}

bool DatabaseExecute(int database, const string &sql) {
  if (number("refuses_pragmas", 0) && sql.std().rfind("PRAGMA", 0) == 0) {
    set_error(5601);
    return false;
  }
  return execute(database, sql.std().c_str());
}
bool DatabaseTransactionBegin(int database) { return execute(database, "begin"); }
bool DatabaseTransactionRollback(int database) { return execute(database, "rollback"); }
bool DatabaseTransactionCommit(int database) {
  bool done = execute(database, "commit");
  if (done)
    committed = now_ms() / 1000;
  return done;
}

int DatabasePrepare(int database, const string &sql) {
  if (number("refuses_pragmas", 0) && sql.std().find("pragma_") != std::string::npos) {
    set_error(5601);
    return INVALID_HANDLE;
  }
  sqlite3_stmt *statement = nullptr;
  if (!succeeded(sqlite3_prepare_v2(databases.at(size_t(database)), sql.std().c_str(), -1, &statement, nullptr)))
    return INVALID_HANDLE;
  requests.push_back(statement);
  return int(requests.size()) - 1;
}

// MQL5 counts parameters from 0, SQLite from 1.
bool DatabaseBind(int request, int index, double value) { return succeeded(sqlite3_bind_double(request_of(request), index + 1, value)); }
bool DatabaseBind(int request, int index, long value) { return succeeded(sqlite3_bind_int64(request_of(request), index + 1, value)); }
bool DatabaseBind(int request, int index, int value) { return succeeded(sqlite3_bind_int(request_of(request), index + 1, value)); }
bool DatabaseBind(int request, int index, bool value) { return succeeded(sqlite3_bind_int(request_of(request), index + 1, value)); }
bool DatabaseBind(int request, int index, const string &value) {
  return succeeded(sqlite3_bind_text(request_of(request), index + 1, value.std().c_str(), -1, SQLITE_TRANSIENT));
}

bool DatabaseRead(int request) {
  Waiting waiting;
  sqlite3_stmt *statement = request_of(request);
  if (int code = injected(statement)) {
    set_error(code);
    return false;
  }
  int code = sqlite3_step(statement);
  if (code == SQLITE_ROW)
    return true;
  if (code == SQLITE_DONE)
    set_error(NO_MORE_DATA);
  else
    set_sqlite_error(code);
  return false;
}

// As in SQLite, what is bound stays bound.
bool DatabaseReset(int request) {
  sqlite3_reset(request_of(request));
  return true;
}

void DatabaseFinalize(int request) {
  sqlite3_finalize(request_of(request));
  requests[size_t(request)] = nullptr;
}

bool DatabaseColumnText(int request, int column, string &value) {
  const unsigned char *text = sqlite3_column_text(request_of(request), column);
  value = string(text == nullptr ? "" : reinterpret_cast<const char *>(text));
  return true;
}
