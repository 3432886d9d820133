//+------------------------------------------------------------------+
//| ServerTime.mqh: from the broker's server time, in which a bar is |
//| stamped, to UTC, in which it is stored.                          |
//+------------------------------------------------------------------+
#define MINUTE_SECONDS 60
#define HOUR_SECONDS 3600
#define DAY_SECONDS 86400

// 07:00 UTC of the second Sunday of March, when New York (UTC-5) puts its clocks forward, or 06:00 UTC of the first
// Sunday of November, when it puts them back.
datetime NewYorkChange(const int year, const bool to_summer)
  {
   MqlDateTime first = {};
   first.year = year;
   first.mon = to_summer ? 3 : 11;
   first.day = 1;
   datetime start = StructToTime(first);
   MqlDateTime known = {};
   TimeToStruct(start, known);
   int days = (7 - known.day_of_week) % 7 + (to_summer ? 7 : 0);
   return (datetime)((long)start + days * DAY_SECONDS + (to_summer ? 7 : 6) * HOUR_SECONDS);
  }

// Whether New York has summer time at an instant of UTC.
bool IsNewYorkSummer(const datetime utc)
  {
   MqlDateTime known = {};
   TimeToStruct(utc, known);
   return utc >= NewYorkChange(known.year, true) && utc < NewYorkChange(known.year, false);
  }

class CServerTime
  {
private:
   bool              m_automatic;
   bool              m_known;
   bool              m_follows_new_york;
   int               m_minutes;    // server time less UTC; in winter, if it follows New York
   datetime          m_now;        // UTC, when the offset was taken

public:
                     CServerTime(void)
     {
      m_automatic = true;
      m_known = false;
      m_follows_new_york = false;
      m_minutes = 0;
      m_now = 0;
     }

   // Takes the input: "auto" or minutes. False if it is neither.
   bool              Configure(const string setting)
     {
      m_automatic = setting == "auto";
      m_minutes = (int)StringToInteger(setting);
      m_known = !m_automatic;
      return m_automatic || (IntegerToString((long)m_minutes) == setting && MathAbs(m_minutes) <= 14 * 60);
     }

   // Takes the offset of this moment. False if it is not known yet, for the terminal has no connection.
   bool              Update(void)
     {
      m_now = TimeGMT();
      if(!m_automatic || !(bool)TerminalInfoInteger(TERMINAL_CONNECTED))
         return m_known;
      double half_hours = MathRound((double)((long)TimeTradeServer() - (long)m_now) / (30 * MINUTE_SECONDS));
      int minutes = 30 * (int)half_hours;
      if(MathAbs(minutes) > 14 * 60)
         return m_known;
      // midnight of a server that closes with New York at 17:00 is seven hours ahead of New York
      bool is_summer = IsNewYorkSummer(m_now);
      bool follows = minutes == (is_summer ? 180 : 120);
      int base = follows ? 120 : minutes;
      if(!m_known || follows != m_follows_new_york || base != m_minutes)
         Print("server time is UTC", minutes < 0 ? "" : "+", IntegerToString((long)minutes), " minutes",
               follows ? ", and follows New York's summer time" : "");
      m_known = true;
      m_follows_new_york = follows;
      m_minutes = base;
      return true;
     }

   // UTC, when the offset was taken.
   datetime          Now(void) const
     {
      return m_now;
     }

   // The instant of a server time, by the offset of its own season. Of the hour that autumn repeats, the later one
   // counts once it has come.
   datetime          ToUtc(const datetime server) const
     {
      datetime winter = (datetime)((long)server - m_minutes * MINUTE_SECONDS);
      if(!m_follows_new_york || (!IsNewYorkSummer(winter) && winter <= m_now))
         return winter;
      datetime summer = (datetime)((long)winter - HOUR_SECONDS);
      return IsNewYorkSummer(summer) ? summer : winter;
     }
  };
//+------------------------------------------------------------------+
