//+------------------------------------------------------------------+
//| DataCollector.mq5: a service that writes the bars of symbols, and|
//| what custom indicators say of them, into one SQLite file.        |
//| docs/collector.md says how to install it.                        |
//+------------------------------------------------------------------+
#property service
#property copyright "Tradehouse"
#property version   "1.00"
#property description "Writes bars and indicator values into a SQLite file that all terminals share"

input string          SymbolList = "";                    // Symbols, comma-separated; empty: all listed ones
input string          Suffixes = ".i,.pro,m,.raw,.std,.e,.z"; // Broker's suffixes
input ENUM_TIMEFRAMES Timeframe = PERIOD_M5;              // Timeframe
input string          DatabaseName = "trading_data.db";   // File, in MQL5\Files or the common folder
input bool            CommonFolder = true;                // The folder that all terminals share
input int             IntervalSeconds = 30;                  // Seconds from one round to the next
input int             MaxCatchUpBars = 10000;             // Bars written at most after a pause
input string          ServerUtcOffset = "auto";           // Server time less UTC: auto, or minutes
input string          FractalName = "Fractal Horizontal Line_V5"; // Fractals; empty: not wanted
input string          FractalPeaks = "0,2";               // Fractals: buffers of peaks
input string          FractalBottoms = "1,3";             // Fractals: buffers of bottoms
input string          LinePeaks = "4,5,6";                // Fractals: buffers of lines at peaks
input string          LineBottoms = "7,8,9";              // Fractals: buffers of lines at bottoms
input string          DiagonalName = "Fractal Diagonal Line_V4"; // Diagonal lines
input string          DiagonalAscending = "0,1,2";        // Diagonal lines: buffers of ascending ones
input string          DiagonalDescending = "3,4,5";       // Diagonal lines: buffers of descending ones
input string          MomentumName = "Body Size Momentum Candle_V2"; // Momentum candles
input int             MomentumType = 4;                   // Momentum candles: buffer of types
input int             MomentumScore = 6;                  // Momentum candles: buffer of z-scores
input string          KeltnerName = "Keltner Channel_ATF_10 Bands"; // Keltner bands
input string          KeltnerBands = "0,1,2,3,4,5,6,7,8,9"; // Keltner bands: buffers, from the top down
input string          AveragesName = "TEMA_HRMA_SMA-SMMA_Modified Buffers"; // Moving averages
input int             AverageTema = 3;                    // Moving averages: buffer of TEMA
input int             AverageHrma = 2;                    // Moving averages: buffer of HRMA
input int             AverageSmma = 1;                    // Moving averages: buffer of SMMA
input string          ZigzagName = "ZigZagColor & MarketStructure_JSON Export_V27_TXT Input"; // Zigzag
input string          ZigzagPeaks = "0";                  // Zigzag: buffer of peaks
input string          ZigzagBottoms = "1";                // Zigzag: buffer of bottoms

#include <SymbolUtils.mqh>
#include <ServerTime.mqh>
#include <Database.mqh>
#include <IndicatorBuffers.mqh>

#define PROMPT_BARS 12         // so many bars are written although an indicator is late
#define PATIENT_ROUNDS 10      // more of them wait for it so many rounds

// The Keltner bands, from the top down.
const string KELTNER_NAMES[] =
  {
   "ultra_extreme_upper",
   "extreme_upper",
   "upper_most",
   "upper_middle",
   "upper",
   "lower",
   "lower_middle",
   "lower_most",
   "extreme_lower",
   "ultra_extreme_lower"
  };

CServerTime g_time;
CDatabase g_database;

//+------------------------------------------------------------------+
//| One symbol: its indicators, and how far it has been written.     |
//+------------------------------------------------------------------+
class CCollected
  {
private:
   string            m_symbol;       // the broker's name
   string            m_table;
   CCustomIndicator        m_indicators[];
   bool              m_started;      // whether the file has been asked for its newest bar
   datetime          m_written;      // the newest bar written, UTC: the next round begins with it
   datetime          m_complete;     // the newest bar written when no indicator was late
   int               m_late_rounds;
   string            m_told;

   void              Tell(const string trouble)
     {
      if(trouble != m_told && trouble != "")
         Print(m_symbol, ": ", trouble);
      m_told = trouble;
     }

   // The bars from `since` on and those before them that they look back at.
   bool              CopyBars(const datetime since, const int bars_in_chart, CollectedBars &bars)
     {
      long elapsed = ((long)g_time.Now() - (long)since) / PeriodSeconds(Timeframe) + 2;
      int due = (int)MathMin((double)MathMax((double)elapsed, 1.0), (double)MaxCatchUpBars);
      int count = (int)MathMin((double)(due + WINDOW_BARS + MOMENTUM_BARS), (double)bars_in_chart);
      bars.digits = (int)SymbolInfoInteger(m_symbol, SYMBOL_DIGITS);
      int copied = CopyRates(m_symbol, Timeframe, 0, count, bars.rates);
      if(copied < 1)
         return false;
      ArrayResize(bars.utc, copied);
      for(int i = 0; i < copied; i++)
         bars.utc[i] = g_time.ToUtc(bars.rates[i].time);
      return true;
     }

   // The first bar to write: that of `since` or the first after it, at the latest the newest.
   int               FirstBar(const CollectedBars &bars, const datetime since) const
     {
      int newest = ArraySize(bars.utc) - 1;
      int first = newest;
      while(first > 0 && newest - first + 1 < MaxCatchUpBars && bars.utc[first - 1] >= since)
         first--;
      return first;
     }

   void              FillRow(const CollectedBars &bars, const int bar, const bool &known[], CollectedRow &row) const
     {
      row.time = bars.utc[bar];
      row.open = bars.rates[bar].open;
      row.high = bars.rates[bar].high;
      row.low = bars.rates[bar].low;
      row.close = bars.rates[bar].close;
      row.fractals = "";
      row.horizontal_trendlines = "";
      row.diagonal_trendlines = "";
      row.momentum_candles = "";
      row.keltner_channels = "";
      row.tema = 0.0;
      row.hrma = 0.0;
      row.smma = 0.0;
      row.zigzag = "";
      if(known[INDICATOR_FRACTALS])
        {
         int lists = ArraySize(m_indicators[INDICATOR_FRACTALS].groups);
         row.fractals = PointListsText(m_indicators[INDICATOR_FRACTALS], 0, 2, bars, bar);
         row.horizontal_trendlines = LineListsText(m_indicators[INDICATOR_FRACTALS], 2, lists, bars, bar, true);
        }
      if(known[INDICATOR_DIAGONALS])
        {
         int lists = ArraySize(m_indicators[INDICATOR_DIAGONALS].groups);
         row.diagonal_trendlines = LineListsText(m_indicators[INDICATOR_DIAGONALS], 0, lists, bars, bar, false);
        }
      if(known[INDICATOR_MOMENTUM])
         row.momentum_candles = MomentumText(m_indicators[INDICATOR_MOMENTUM], bars, bar);
      if(known[INDICATOR_KELTNER])
         row.keltner_channels = NumbersText(m_indicators[INDICATOR_KELTNER], bars, bar);
      if(known[INDICATOR_AVERAGES])
        {
         row.tema = m_indicators[INDICATOR_AVERAGES].Value(0, bar);
         row.hrma = m_indicators[INDICATOR_AVERAGES].Value(1, bar);
         row.smma = m_indicators[INDICATOR_AVERAGES].Value(2, bar);
        }
      if(known[INDICATOR_ZIGZAG])
         row.zigzag = PointListsText(m_indicators[INDICATOR_ZIGZAG], 0, 2, bars, bar);
     }

   void              ConfigureIndicators(void)
     {
      ArrayResize(m_indicators, INDICATORS_TOTAL);
      m_indicators[INDICATOR_FRACTALS].Configure(FractalName);
      m_indicators[INDICATOR_FRACTALS].AddGroup("peaks", FractalPeaks);
      m_indicators[INDICATOR_FRACTALS].AddGroup("bottoms", FractalBottoms);
      m_indicators[INDICATOR_FRACTALS].AddGroups("peak", LinePeaks);
      m_indicators[INDICATOR_FRACTALS].AddGroups("bottom", LineBottoms);
      m_indicators[INDICATOR_DIAGONALS].Configure(DiagonalName);
      m_indicators[INDICATOR_DIAGONALS].AddGroups("ascending", DiagonalAscending);
      m_indicators[INDICATOR_DIAGONALS].AddGroups("descending", DiagonalDescending);
      m_indicators[INDICATOR_MOMENTUM].Configure(MomentumName);
      m_indicators[INDICATOR_MOMENTUM].AddGroup("type", IntegerToString((long)MomentumType));
      m_indicators[INDICATOR_MOMENTUM].AddGroup("zscore", IntegerToString((long)MomentumScore));
      m_indicators[INDICATOR_KELTNER].Configure(KeltnerName);
      string bands[];
      SplitList(KeltnerBands, bands);
      for(int i = 0; i < ArraySize(bands); i++)
         m_indicators[INDICATOR_KELTNER].AddGroup(KELTNER_NAMES[i], bands[i]);
      m_indicators[INDICATOR_AVERAGES].Configure(AveragesName);
      m_indicators[INDICATOR_AVERAGES].AddGroup("tema", IntegerToString((long)AverageTema));
      m_indicators[INDICATOR_AVERAGES].AddGroup("hrma", IntegerToString((long)AverageHrma));
      m_indicators[INDICATOR_AVERAGES].AddGroup("smma", IntegerToString((long)AverageSmma));
      m_indicators[INDICATOR_ZIGZAG].Configure(ZigzagName);
      m_indicators[INDICATOR_ZIGZAG].AddGroup("peaks", ZigzagPeaks);
      m_indicators[INDICATOR_ZIGZAG].AddGroup("bottoms", ZigzagBottoms);
     }

   // Whether each indicator has its values of the bars; the first late one by name, else "".
   string            CopyIndicators(const CollectedBars &bars, const int bars_in_chart, bool &known[])
     {
      string late = "";
      ArrayResize(known, INDICATORS_TOTAL);
      for(int i = 0; i < INDICATORS_TOTAL; i++)
        {
         ENUM_BUFFERS_STATE state = m_indicators[i].Copy(m_symbol, Timeframe, bars, bars_in_chart);
         known[i] = state == BUFFERS_READY;
         if(state == BUFFERS_LATE && late == "")
            late = m_indicators[i].Name();
        }
      return late;
     }

public:
                     CCollected(void)
     {
      m_symbol = "";
      m_table = "";
      m_started = false;
      m_written = 0;
      m_complete = 0;
      m_late_rounds = 0;
      m_told = "";
     }

   void              Start(const string symbol, const string table)
     {
      m_symbol = symbol;
      m_table = table;
      ConfigureIndicators();
      if(!SymbolSelect(symbol, true))
         Tell("it cannot be put into Market Watch, error " + IntegerToString((long)GetLastError()));
     }

   // Writes the forming bar and those since the last round. The error's code where the file could not be used, else 0.
   int               Collect(void)
     {
      if(!m_started)
        {
         if(!g_database.NewestBar(m_table, m_written))
            return g_database.Error();
         m_complete = m_written;
         m_started = true;
        }
      int bars_in_chart = Bars(m_symbol, Timeframe);
      CollectedBars bars;
      if(bars_in_chart < 1 || !CopyBars(m_complete, bars_in_chart, bars))
        {
         Tell("the terminal has no bars yet; it is asked again");
         return 0;
        }
      bool known[];
      string late = CopyIndicators(bars, bars_in_chart, known);
      m_late_rounds = late == "" ? 0 : m_late_rounds + 1;
      // once all indicators have spoken, the bars that were written without one of them are written again
      int first = FirstBar(bars, late == "" ? m_complete : m_written);
      int count = ArraySize(bars.utc) - first;
      if(late != "" && count > PROMPT_BARS && m_late_rounds < PATIENT_ROUNDS)
         return 0;
      CollectedRow rows[];
      ArrayResize(rows, count);
      for(int i = 0; i < count; i++)
        {
         if(IsStopped())
            return 0;
         FillRow(bars, first + i, known, rows[i]);
        }
      int error = g_database.Write(m_table, rows, known);
      if(error != 0)
        {
         Tell("nothing is written, " + ErrorText(error));
         return error;
        }
      m_written = rows[count - 1].time;
      if(late == "")
         m_complete = m_written;
      Tell(m_late_rounds < PATIENT_ROUNDS ? "" : "indicator '" + late + "' is not calculated, or lacks a buffer; its" +
           " columns are written once it is there");
      return 0;
     }

   void              Release(void)
     {
      for(int i = 0; i < ArraySize(m_indicators); i++)
         m_indicators[i].Release();
     }
  };

//+------------------------------------------------------------------+
//| Whether an input is a list of numbers, so many if that is asked. |
//+------------------------------------------------------------------+
bool CheckBuffers(const string name, const string buffers, const int wanted)
  {
   string numbers[];
   SplitList(buffers, numbers);
   bool good = wanted == 0 || ArraySize(numbers) == wanted;
   for(int i = 0; i < ArraySize(numbers); i++)
      good = good && IntegerToString(StringToInteger(numbers[i])) == numbers[i];
   if(!good)
      Print(name, " '", buffers, "': give ", wanted == 0 ? "the" : IntegerToString((long)wanted),
            " numbers of buffers, with commas between them, such as 0,2");
   return good;
  }

//+------------------------------------------------------------------+
//| The inputs that cannot be right, one line each.                  |
//+------------------------------------------------------------------+
bool CheckInputs(void)
  {
   bool good = true;
   if(DatabaseName == "" || StringFind(DatabaseName, ":") >= 0 || StringFind(DatabaseName, "..") >= 0 ||
      StringFind(DatabaseName, "\\") == 0 || StringFind(DatabaseName, "/") == 0)
     {
      Print("DatabaseName '", DatabaseName, "': a terminal opens files below MQL5\\Files or the common folder only; ",
            "give a name such as trading_data.db (docs/collector.md says how to have the file elsewhere)");
      good = false;
     }
   if(!g_time.Configure(ServerUtcOffset))
     {
      Print("ServerUtcOffset '", ServerUtcOffset, "': give auto, or minutes from -840 to 840, such as 120");
      good = false;
     }
   if((int)Timeframe == 0)
     {
      Print("Timeframe: a service has no chart, so there is no current timeframe; give M5");
      good = false;
     }
   good = CheckBuffers("FractalPeaks", FractalPeaks, 0) && good;
   good = CheckBuffers("FractalBottoms", FractalBottoms, 0) && good;
   good = CheckBuffers("LinePeaks", LinePeaks, 0) && good;
   good = CheckBuffers("LineBottoms", LineBottoms, 0) && good;
   good = CheckBuffers("DiagonalAscending", DiagonalAscending, 0) && good;
   good = CheckBuffers("DiagonalDescending", DiagonalDescending, 0) && good;
   good = CheckBuffers("KeltnerBands", KeltnerBands, ArraySize(KELTNER_NAMES)) && good;
   good = CheckBuffers("ZigzagPeaks", ZigzagPeaks, 0) && good;
   good = CheckBuffers("ZigzagBottoms", ZigzagBottoms, 0) && good;
   if(IntervalSeconds < 1 || MaxCatchUpBars < 1)
     {
      Print("IntervalSeconds and MaxCatchUpBars have to be at least 1");
      good = false;
     }
   return good;
  }

//+------------------------------------------------------------------+
//| One round. A symbol that cannot be written fails alone, and the  |
//| file is opened again; a file that is held is left for this round.|
//+------------------------------------------------------------------+
void CollectAll(CCollected &collected[])
  {
   bool is_broken = false;
   for(int i = 0; i < ArraySize(collected) && !IsStopped(); i++)
     {
      int error = collected[i].Collect();
      if(error == DATABASE_BUSY)
         return;
      is_broken = is_broken || error != 0;
     }
   if(is_broken)
      g_database.Close();
  }

//+------------------------------------------------------------------+
//| Waits in short steps, for a stop is to be seen soon.             |
//+------------------------------------------------------------------+
void WaitUntil(const ulong tick)
  {
   while(!IsStopped() && GetTickCount64() < tick)
      Sleep(200);
  }

//+------------------------------------------------------------------+
//| The program: a service has no other event.                       |
//+------------------------------------------------------------------+
void OnStart(void)
  {
   if(!CheckInputs())
      return;
   string wanted[];
   SplitList(SymbolList, wanted);
   string suffixes[];
   SplitList(Suffixes, suffixes);
   string names[];
   string tables[];
   ChooseSymbols(wanted, suffixes, names, tables);
   if(ArraySize(names) == 0)
     {
      Print("this terminal has none of the project's symbols; give their names as SymbolList");
      return;
     }
   CCollected collected[];
   ArrayResize(collected, ArraySize(names));
   for(int i = 0; i < ArraySize(names); i++)
     {
      collected[i].Start(names[i], tables[i]);
      Print(names[i], " is written to table ", tables[i]);
     }
   bool waits = false;
   while(!IsStopped())
     {
      ulong next = GetTickCount64() + (ulong)IntervalSeconds * 1000;
      bool has_time = g_time.Update();
      if(!has_time && !waits)
         Print("the time of the trade server is not known yet: waiting for the connection");
      waits = !has_time;
      if(has_time && (g_database.IsOpen() || g_database.Open(DatabaseName, CommonFolder, tables)))
         CollectAll(collected);
      WaitUntil(next);
     }
   for(int i = 0; i < ArraySize(collected); i++)
      collected[i].Release();
   g_database.Close();
   Print("stopped");
  }
//+------------------------------------------------------------------+
