//+------------------------------------------------------------------+
//| IndicatorBuffers.mqh: reads the buffers of a custom indicator,   |
//| and writes what they hold as JSON.                               |
//+------------------------------------------------------------------+
#define WINDOW_BARS 500        // how far back a bar looks for points
#define LISTED_POINTS 10       // the newest points of a list
#define MOMENTUM_BARS 432      // bars of a z-score
#define CANNOT_CREATE 4802     // there is no indicator of that name

// An indicator has no value where it says 0, EMPTY_VALUE, an infinity or NaN.
bool HasValue(const double value)
  {
   return MathIsValidNumber(value) && value != 0.0 && MathAbs(value) < EMPTY_VALUE;
  }

// The bars of a round, oldest first.
struct CollectedBars
  {
   MqlRates          rates[];
   datetime          utc[];      // the open of each, UTC
   int               digits;     // decimals of a price
  };

struct BufferValues
  {
   double            values[];   // one for each bar, oldest first
  };

// Buffers that are one list in the JSON, such as two degrees of peaks.
struct BufferGroup
  {
   string            name;
   int               buffers[];
   BufferValues      copied[];
  };

enum ENUM_BUFFERS_STATE
  {
   BUFFERS_ABSENT,    // there is no such indicator
   BUFFERS_LATE,      // not calculated yet
   BUFFERS_READY
  };

class CCustomIndicator
  {
private:
   string            m_name;
   int               m_handle;
   bool              m_absent;
   int               m_told;       // the last error told

   // The indicator, asked for once; it is asked for again only where the terminal could not make it just now.
   bool              Create(const string symbol, const ENUM_TIMEFRAMES timeframe)
     {
      if(m_handle != INVALID_HANDLE)
         return true;
      if(m_absent)
         return false;
      ResetLastError();
      m_handle = iCustom(symbol, timeframe, m_name);
      if(m_handle != INVALID_HANDLE)
         return true;
      int error = GetLastError();
      m_absent = error == CANNOT_CREATE;
      if(error != m_told)
         Print(symbol, ": indicator '", m_name, "' cannot be created, error ", IntegerToString((long)error),
               m_absent ? "; its columns stay empty. Is it compiled in MQL5\\Indicators?" : "; it is tried again");
      m_told = error;
      return false;
     }

public:
   BufferGroup       groups[];

                     CCustomIndicator(void)
     {
      m_name = "";
      m_handle = INVALID_HANDLE;
      m_absent = true;
      m_told = 0;
     }

   string            Name(void) const
     {
      return m_name;
     }

   // An indicator without a name is not wanted.
   void              Configure(const string name)
     {
      m_name = name;
      m_absent = name == "";
     }

   // One list of the JSON, from the buffers listed, such as "0,2".
   void              AddGroup(const string name, const string buffers)
     {
      int place = ArraySize(groups);
      ArrayResize(groups, place + 1);
      groups[place].name = name;
      string numbers[];
      SplitList(buffers, numbers);
      ArrayResize(groups[place].buffers, ArraySize(numbers));
      ArrayResize(groups[place].copied, ArraySize(numbers));
      for(int i = 0; i < ArraySize(numbers); i++)
         groups[place].buffers[i] = (int)StringToInteger(numbers[i]);
     }

   // A list for each of the buffers: peak_1, peak_2, ...
   void              AddGroups(const string name, const string buffers)
     {
      string numbers[];
      SplitList(buffers, numbers);
      for(int i = 0; i < ArraySize(numbers); i++)
         AddGroup(name + "_" + IntegerToString((long)i + 1), numbers[i]);
     }

   // Copies all buffers of the bars. They are asked for by time, so that a bar that opens meanwhile shifts nothing.
   ENUM_BUFFERS_STATE Copy(const string symbol, const ENUM_TIMEFRAMES timeframe, const CollectedBars &bars,
                           const int bars_in_chart)
     {
      if(!Create(symbol, timeframe))
         return m_absent ? BUFFERS_ABSENT : BUFFERS_LATE;
      int count = ArraySize(bars.rates);
      if(BarsCalculated(m_handle) < bars_in_chart)
         return BUFFERS_LATE;
      for(int g = 0; g < ArraySize(groups); g++)
         for(int b = 0; b < ArraySize(groups[g].buffers); b++)
           {
            int copied = CopyBuffer(m_handle, groups[g].buffers[b], bars.rates[0].time, bars.rates[count - 1].time,
                                    groups[g].copied[b].values);
            if(copied != count)
               return BUFFERS_LATE;
           }
      return BUFFERS_READY;
     }

   void              Release(void)
     {
      if(m_handle != INVALID_HANDLE)
         IndicatorRelease(m_handle);
      m_handle = INVALID_HANDLE;
     }

   // The value of a group's only buffer; 0 if there is none.
   double            Value(const int group, const int bar) const
     {
      double value = groups[group].copied[0].values[bar];
      return HasValue(value) ? value : 0.0;
     }
  };

// The value that a group has at a bar, from its first buffer that has one; 0 if none has.
double ValueOf(const BufferGroup &group, const int bar)
  {
   for(int b = 0; b < ArraySize(group.copied); b++)
      if(HasValue(group.copied[b].values[bar]))
         return group.copied[b].values[bar];
   return 0.0;
  }

string PointText(const CollectedBars &bars, const int bar, const double price)
  {
   return "{\"time\":" + IntegerToString((long)bars.utc[bar]) + ",\"price\":" + DoubleToString(price, bars.digits) + "}";
  }

// The newest points of a group up to a bar, oldest first.
string PointsText(const BufferGroup &group, const CollectedBars &bars, const int row)
  {
   string text = "";
   int found = 0;
   for(int bar = row; bar >= 0 && bar > row - WINDOW_BARS && found < LISTED_POINTS; bar--)
     {
      double price = ValueOf(group, bar);
      if(price == 0.0)
         continue;
      text = PointText(bars, bar, price) + (found > 0 ? "," : "") + text;
      found++;
     }
   return "[" + text + "]";
  }

// Both ends of the newest line of a group up to a bar: of the last bars in a row that have a value. A level is a line
// that keeps its price.
string LineText(const BufferGroup &group, const CollectedBars &bars, const int row, const bool is_level)
  {
   int last = row;
   while(last > 0 && last > row - WINDOW_BARS && ValueOf(group, last) == 0.0)
      last--;
   double price = ValueOf(group, last);
   if(price == 0.0 || last == row - WINDOW_BARS)
      return "[]";
   int first = last;
   while(first > 0 && first > row - WINDOW_BARS + 1 && ValueOf(group, first - 1) != 0.0 &&
         (!is_level || ValueOf(group, first - 1) == price))
      first--;
   if(first == last)
      return "[" + PointText(bars, last, price) + "]";
   return "[" + PointText(bars, first, ValueOf(group, first)) + "," + PointText(bars, last, price) + "]";
  }

// {"name": points, ...} of some groups of an indicator.
string PointListsText(const CCustomIndicator &indicator, const int from, const int to, const CollectedBars &bars,
                      const int row)
  {
   string text = "";
   for(int g = from; g < to; g++)
      text += (g > from ? "," : "") + "\"" + indicator.groups[g].name + "\":" +
              PointsText(indicator.groups[g], bars, row);
   return "{" + text + "}";
  }

// {"name": line, ...} of some groups of an indicator.
string LineListsText(const CCustomIndicator &indicator, const int from, const int to, const CollectedBars &bars,
                     const int row, const bool is_level)
  {
   string text = "";
   for(int g = from; g < to; g++)
      text += (g > from ? "," : "") + "\"" + indicator.groups[g].name + "\":" +
              LineText(indicator.groups[g], bars, row, is_level);
   return "{" + text + "}";
  }

// {"name": number, ...} of all groups of an indicator, null where one has no value; "" where none has.
string NumbersText(const CCustomIndicator &indicator, const CollectedBars &bars, const int row)
  {
   string text = "";
   int found = 0;
   for(int g = 0; g < ArraySize(indicator.groups); g++)
     {
      double value = ValueOf(indicator.groups[g], row);
      found += value != 0.0 ? 1 : 0;
      text += (g > 0 ? "," : "") + "\"" + indicator.groups[g].name + "\":" +
              (value != 0.0 ? DoubleToString(value, bars.digits) : "null");
     }
   return found > 0 ? "{" + text + "}" : "";
  }

// How many standard deviations (n-1) a bar's body is from the mean of the last 432, its own included. False where
// there are fewer bars or no deviation.
bool BodyScore(const CollectedBars &bars, const int row, double &score)
  {
   int first = row - MOMENTUM_BARS + 1;
   if(first < 0)
      return false;
   double mean = 0.0;
   for(int bar = first; bar <= row; bar++)
      mean += MathAbs(bars.rates[bar].close - bars.rates[bar].open) / MOMENTUM_BARS;
   double squares = 0.0;
   for(int bar = first; bar <= row; bar++)
     {
      double distance = MathAbs(bars.rates[bar].close - bars.rates[bar].open) - mean;
      squares += distance * distance;
     }
   double deviation = MathSqrt(squares / (MOMENTUM_BARS - 1));
   if(deviation == 0.0)
      return false;
   score = (MathAbs(bars.rates[row].close - bars.rates[row].open) - mean) / deviation;
   return true;
  }

// [{"time", "type", "zscore"}, ...] of the newest momentum candles up to a bar, oldest first: types 1 and 2 up, 4 and 5
// down; 0 and 3 are none. Group 0 has the types, group 1 the z-scores.
string MomentumText(const CCustomIndicator &indicator, const CollectedBars &bars, const int row)
  {
   string text = "";
   int found = 0;
   for(int bar = row; bar >= 0 && bar > row - WINDOW_BARS && found < LISTED_POINTS; bar--)
     {
      double type = ValueOf(indicator.groups[0], bar);
      if(type != 1.0 && type != 2.0 && type != 4.0 && type != 5.0)
         continue;
      double score = ValueOf(indicator.groups[1], bar);
      bool is_scored = score != 0.0 || BodyScore(bars, bar, score);
      text = "{\"time\":" + IntegerToString((long)bars.utc[bar]) + ",\"type\":" + IntegerToString((long)type) +
             ",\"zscore\":" + (is_scored ? DoubleToString(score, 4) : "null") + "}" + (found > 0 ? "," : "") + text;
      found++;
     }
   return "[" + text + "]";
  }
//+------------------------------------------------------------------+
