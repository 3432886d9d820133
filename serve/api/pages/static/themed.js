// Colours of a chart in the theme of the page.

export function themed(dark) {
  const line = dark ? "#212934" : "#e9edf2";
  return {
    layout: {
      background: { color: dark ? "#151b23" : "#ffffff" },
      textColor: dark ? "#97a3b1" : "#55606e",
      fontFamily: getComputedStyle(document.body).fontFamily,
      attributionLogo: true,
    },
    grid: { vertLines: { color: line }, horzLines: { color: line } },
    rightPriceScale: { borderColor: line },
    timeScale: { borderColor: line, timeVisible: true, secondsVisible: false },
  };
}
