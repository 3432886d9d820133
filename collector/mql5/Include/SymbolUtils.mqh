//+------------------------------------------------------------------+
//| SymbolUtils.mqh: which of the project's symbols a broker's name  |
//| stands for.                                                      |
//+------------------------------------------------------------------+
#include <ProjectLists.mqh>

// The parts of a comma-separated list, without blanks around them; empty parts are left out.
void SplitList(const string text, string &parts[])
  {
   ArrayResize(parts, 0);
   string pieces[];
   int count = StringSplit(text, ',', pieces);
   for(int i = 0; i < count; i++)
     {
      string piece = pieces[i];
      StringTrimLeft(piece);
      StringTrimRight(piece);
      if(piece == "")
         continue;
      int place = ArraySize(parts);
      ArrayResize(parts, place + 1);
      parts[place] = piece;
     }
  }

// The place of a name in the project's list of symbols, in any case; -1 if it is not there.
int ListedPlace(const string name)
  {
   string wanted = name;
   StringToUpper(wanted);
   for(int i = 0; i < ArraySize(PROJECT_SYMBOLS); i++)
      if(PROJECT_SYMBOLS[i] == wanted)
         return i;
   return -1;
  }

bool EndsWith(const string text, const string ending)
  {
   int start = StringLen(text) - StringLen(ending);
   return start > 0 && StringSubstr(text, start) == ending;
  }

// The project's symbol that a broker's name stands for; "" if it is none of them.
// One of the suffixes is taken off the end. If what remains is not listed, the longest listed symbol counts with which
// the name begins, unless a digit follows it: US300 is not US30.
string ProjectSymbol(const string name, const string &suffixes[])
  {
   int place = ListedPlace(name);
   for(int i = 0; place < 0 && i < ArraySize(suffixes); i++)
      if(EndsWith(name, suffixes[i]))
         place = ListedPlace(StringSubstr(name, 0, StringLen(name) - StringLen(suffixes[i])));
   if(place >= 0)
      return PROJECT_SYMBOLS[place];
   string upper = name;
   StringToUpper(upper);
   string longest = "";
   for(int i = 0; i < ArraySize(PROJECT_SYMBOLS); i++)
     {
      int length = StringLen(PROJECT_SYMBOLS[i]);
      if(length <= StringLen(longest) || length >= StringLen(upper) || StringFind(upper, PROJECT_SYMBOLS[i]) != 0)
         continue;
      int next = (int)StringGetCharacter(upper, length);
      if(next < '0' || next > '9')
         longest = PROJECT_SYMBOLS[i];
     }
   return longest;
  }

// The places at which `table` stands in `tables`; -1 if it does not.
int PlaceOf(const string table, const string &tables[])
  {
   for(int i = 0; i < ArraySize(tables); i++)
      if(tables[i] == table)
         return i;
   return -1;
  }

// Which of the broker's names are collected, and into which table each goes. `wanted` empty: every listed symbol that
// this terminal has. Of several names for one table the exact one counts, else the first; the others are named.
void ChooseSymbols(const string &wanted[], const string &suffixes[], string &names[], string &tables[])
  {
   string candidates[];
   int count = ArraySize(wanted) > 0 ? ArraySize(wanted) : SymbolsTotal(false);
   ArrayResize(candidates, count);
   for(int i = 0; i < count; i++)
      candidates[i] = ArraySize(wanted) > 0 ? wanted[i] : SymbolName(i, false);
   for(int i = 0; i < count; i++)
     {
      string table = ProjectSymbol(candidates[i], suffixes);
      if(table == "")
        {
         if(ArraySize(wanted) > 0)
            Print(candidates[i], ": none of the project's symbols, so it is not collected");
         continue;
        }
      int known = PlaceOf(table, tables);
      if(known < 0)
        {
         known = ArraySize(tables);
         ArrayResize(tables, known + 1);
         ArrayResize(names, known + 1);
         tables[known] = table;
         names[known] = candidates[i];
         continue;
        }
      bool is_exact = candidates[i] == table;
      Print(table, ": ", is_exact ? names[known] : candidates[i], " is left out for ",
            is_exact ? candidates[i] : names[known]);
      if(is_exact)
         names[known] = candidates[i];
     }
  }
//+------------------------------------------------------------------+
