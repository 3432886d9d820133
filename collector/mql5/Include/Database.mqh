//+------------------------------------------------------------------+
//| Database.mqh: the SQLite file that all terminals share.          |
//+------------------------------------------------------------------+
#include <ProjectLists.mqh>

#define DATABASE_FAILED 5601        // SQLite's code 1, for an error without a code
#define DATABASE_BUSY 5605          // SQLite's code 5, and 5600
#define DATABASE_FULL 5613
#define DATABASE_NO_MORE_DATA 5126  // the end of a SELECT, and of a statement that has no rows
// SQLite waits a second for the lock, five times over, so that a stop is seen in between: a service that has been told
// to stop has three seconds left.
#define BUSY_ATTEMPTS 5

// What an indicator knows of a row; a column whose indicator is not ready keeps what the file has.
enum ENUM_COLLECTED_INDICATOR
  {
   INDICATOR_FRACTALS,
   INDICATOR_DIAGONALS,
   INDICATOR_MOMENTUM,
   INDICATOR_KELTNER,
   INDICATOR_AVERAGES,
   INDICATOR_ZIGZAG,
   INDICATORS_TOTAL
  };

// A bar as it is stored. "" and 0.0 stand for no value, and become NULL.
struct CollectedRow
  {
   datetime          time;         // the bar's open, UTC
   double            open;
   double            high;
   double            low;
   double            close;
   string            fractals;
   string            horizontal_trendlines;
   string            diagonal_trendlines;
   string            momentum_candles;
   string            keltner_channels;
   double            tema;
   double            hrma;
   double            smma;
   string            zigzag;
  };

// One row, by its parameters ?1 to ?20. A bound value stays bound until the next one is, so that "no value" has to be
// bound too; there is no way to bind NULL.
string UpsertOf(const string table)
  {
   return "insert into " + table + " (timestamp, open, high, low, close, fractals, horizontal_trendlines,"
          " diagonal_trendlines, momentum_candles, keltner_channels, tema, hrma, smma, zigzag)"
          " values (?1, ?2, ?3, ?4, ?5, nullif(?6, ''), nullif(?7, ''), nullif(?8, ''), nullif(?9, ''), nullif(?10, ''),"
          " nullif(?11, 0.0), nullif(?12, 0.0), nullif(?13, 0.0), nullif(?14, ''))"
          " on conflict (timestamp) do update set"
          " open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,"
          " fractals = case when ?15 then excluded.fractals else fractals end,"
          " horizontal_trendlines = case when ?15 then excluded.horizontal_trendlines else horizontal_trendlines end,"
          " diagonal_trendlines = case when ?16 then excluded.diagonal_trendlines else diagonal_trendlines end,"
          " momentum_candles = case when ?17 then excluded.momentum_candles else momentum_candles end,"
          " keltner_channels = case when ?18 then excluded.keltner_channels else keltner_channels end,"
          " tema = case when ?19 then excluded.tema else tema end,"
          " hrma = case when ?19 then excluded.hrma else hrma end,"
          " smma = case when ?19 then excluded.smma else smma end,"
          " zigzag = case when ?20 then excluded.zigzag else zigzag end";
  }

// An error's code, and what to do about the usual ones.
string ErrorText(const int error)
  {
   string code = "error " + IntegerToString((long)error);
   if(error == DATABASE_BUSY)
      return code + ", another program holds the file; it is tried again";
   if(error == DATABASE_FULL)
      return code + ", the disk is full; it is tried again";
   return code + "; docs/collector.md says what the codes mean";
  }

class CDatabase
  {
private:
   int               m_handle;
   int               m_error;      // why the last action failed: finalizing and rolling back set codes of their own
   string            m_told;       // the last trouble told, so that each is told once

   bool              Failed(const string action, const int error)
     {
      m_error = error;
      string trouble = action + ": " + ErrorText(error);
      if(trouble != m_told)
         Print(trouble);
      m_told = trouble;
      return false;
     }

   bool              Execute(const string sql)
     {
      int error = DATABASE_BUSY;
      for(int attempt = 1; error == DATABASE_BUSY && attempt <= BUSY_ATTEMPTS && (attempt == 1 || !IsStopped()); attempt++)
        {
         ResetLastError();
         if(DatabaseExecute(m_handle, sql))
            return true;
         error = GetLastError();
        }
      return Failed(sql, error);
     }

   // The first value of the first row as text; "" if there is no row.
   bool              ReadText(const string sql, string &value)
     {
      value = "";
      ResetLastError();
      int request = DatabasePrepare(m_handle, sql);
      if(request == INVALID_HANDLE)
         return Failed(sql, GetLastError());
      bool found = DatabaseRead(request) && DatabaseColumnText(request, 0, value);
      bool ended = found || GetLastError() == DATABASE_NO_MORE_DATA || Failed(sql, GetLastError());
      DatabaseFinalize(request);
      return ended;
     }

   // The table with the columns of the project's list; an older table gains those that it lacks.
   bool              EnsureTable(const string table)
     {
      string columns = "";
      for(int i = 0; i < ArraySize(PROJECT_COLUMNS); i++)
         columns += (i > 0 ? ", " : "") + PROJECT_COLUMNS[i];
      if(!Execute("create table if not exists " + table + " (" + columns + ")"))
         return false;
      for(int i = 0; i < ArraySize(PROJECT_COLUMNS); i++)
        {
         string name = StringSubstr(PROJECT_COLUMNS[i], 0, StringFind(PROJECT_COLUMNS[i], " "));
         string found = "";
         if(!ReadText("select 1 from pragma_table_info('" + table + "') where name = '" + name + "'", found))
            return true; // an older SQLite cannot say; a table that lacks a column is told when it is written
         if(found == "" && !Execute("alter table " + table + " add column " + PROJECT_COLUMNS[i]))
            return false;
        }
      return true;
     }

   bool              Bind(const int request, const CollectedRow &row, const bool &known[])
     {
      // counted from 0, where SQL counts from ?1
      bool bound = DatabaseBind(request, 0, (long)row.time);
      bound = bound && DatabaseBind(request, 1, row.open);
      bound = bound && DatabaseBind(request, 2, row.high);
      bound = bound && DatabaseBind(request, 3, row.low);
      bound = bound && DatabaseBind(request, 4, row.close);
      bound = bound && DatabaseBind(request, 5, row.fractals);
      bound = bound && DatabaseBind(request, 6, row.horizontal_trendlines);
      bound = bound && DatabaseBind(request, 7, row.diagonal_trendlines);
      bound = bound && DatabaseBind(request, 8, row.momentum_candles);
      bound = bound && DatabaseBind(request, 9, row.keltner_channels);
      bound = bound && DatabaseBind(request, 10, row.tema);
      bound = bound && DatabaseBind(request, 11, row.hrma);
      bound = bound && DatabaseBind(request, 12, row.smma);
      bound = bound && DatabaseBind(request, 13, row.zigzag);
      for(int i = 0; i < INDICATORS_TOTAL; i++)
         bound = bound && DatabaseBind(request, 14 + i, known[i]);
      return bound;
     }

   // All rows in the transaction that has begun; else false, and why in m_error.
   bool              WriteRows(const string table, const CollectedRow &rows[], const bool &known[])
     {
      ResetLastError();
      int request = DatabasePrepare(m_handle, UpsertOf(table));
      bool written = request != INVALID_HANDLE;
      for(int i = 0; written && i < ArraySize(rows); i++)
        {
         written = Bind(request, rows[i], known);
         if(!written)
            break;
         ResetLastError();
         // a statement without rows to return has been carried out when its end is reported
         written = !DatabaseRead(request) && GetLastError() == DATABASE_NO_MORE_DATA && DatabaseReset(request);
        }
      m_error = GetLastError() != 0 ? GetLastError() : DATABASE_FAILED;
      if(request != INVALID_HANDLE)
         DatabaseFinalize(request);
      return written;
     }

   // All rows or none; else false, and why in m_error.
   bool              WriteOnce(const string table, const CollectedRow &rows[], const bool &known[])
     {
      ResetLastError();
      if(!DatabaseTransactionBegin(m_handle))
        {
         m_error = GetLastError();
         return false;
        }
      bool written = WriteRows(table, rows, known);
      if(written)
        {
         ResetLastError();
         written = DatabaseTransactionCommit(m_handle);
         m_error = GetLastError();
        }
      if(!written)
         DatabaseTransactionRollback(m_handle);
      return written;
     }

public:
                     CDatabase(void)
     {
      m_handle = INVALID_HANDLE;
      m_error = 0;
      m_told = "";
     }

   bool              IsOpen(void) const
     {
      return m_handle != INVALID_HANDLE;
     }

   // The code of the error that ended the last action that failed.
   int               Error(void) const
     {
      return m_error;
     }

   // Opens or makes the file and its tables. False where that cannot be done now; the journal says why.
   bool              Open(const string name, const bool is_common, const string &tables[])
     {
      uint place = is_common ? DATABASE_OPEN_COMMON : 0;
      ResetLastError();
      m_handle = DatabaseOpen(name, DATABASE_OPEN_READWRITE | DATABASE_OPEN_CREATE | place);
      if(m_handle == INVALID_HANDLE)
         return Failed("open " + name, GetLastError());
      // a PRAGMA that fails is told, and costs waiting or speed: the bars are written all the same
      Execute("PRAGMA busy_timeout=1000");
      Execute("PRAGMA journal_mode=WAL");
      Execute("PRAGMA synchronous=NORMAL");
      string journal = "";
      bool ready = ReadText("PRAGMA journal_mode", journal);
      for(int i = 0; ready && i < ArraySize(tables); i++)
         ready = EnsureTable(tables[i]);
      if(!ready)
        {
         Close();
         return false;
        }
      Print(name, " is open, journal mode ", journal,
            journal == "wal" ? "" : ": readers and terminals will wait for each other");
      m_told = "";
      return true;
     }

   void              Close(void)
     {
      if(m_handle != INVALID_HANDLE)
         DatabaseClose(m_handle);
      m_handle = INVALID_HANDLE;
     }

   // The newest bar of a table, UTC; 0 if it has none. False where it cannot be read; the journal says why.
   bool              NewestBar(const string table, datetime &time)
     {
      string value = "";
      if(!ReadText("select coalesce(max(timestamp), 0) from " + table, value))
         return false;
      time = (datetime)StringToInteger(value);
      return true;
     }

   // Writes the rows of one symbol in one transaction. `known` says of each indicator whether it has spoken: what it has
   // not spoken about stays as it is in the file. The error's code where nothing was written, else 0.
   int               Write(const string table, const CollectedRow &rows[], const bool &known[])
     {
      for(int attempt = 1; !WriteOnce(table, rows, known); attempt++)
         if(m_error != DATABASE_BUSY || attempt >= BUSY_ATTEMPTS || IsStopped())
            return m_error;
      return 0;
     }
  };
//+------------------------------------------------------------------+
