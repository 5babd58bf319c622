// Tabs, of which one is shown: by a click, or by the arrow keys, Home and End.

/** Make the buttons of a tab list show what they control. */
export function setUpTabs(list) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const choose = chosen => tabs.forEach(tab => {
    tab.setAttribute("aria-selected", tab === chosen);
    tab.tabIndex = tab === chosen ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
  });
  list.addEventListener("click", event => { if (tabs.includes(event.target)) choose(event.target); });
  list.addEventListener("keydown", event => {
    const at = tabs.indexOf(event.target), to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const chosen = tabs.at(to % tabs.length);
    choose(chosen);
    chosen.focus();
  });
}
