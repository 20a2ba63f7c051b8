// The search and the menus, and the page's address, in which stands what is searched for, #q=sky&split=train, so that it
// can be sent to somebody. It keeps the names of what was chosen: another publication numbers these anew.
const FILTERS = ["label", "split", "format", "size", "issue"];
const $ = (id) => document.getElementById(id);

export const number = new Intl.NumberFormat("en-US").format;

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function option(name, value, textContent = name) {
  const made = element("option", {value, textContent});
  made.dataset.name = name;
  return made;
}

export function choices(id, none, names, most = 300) {
  const listed = names.map(([name, count], index) => [name, count, index]).filter(([name]) => name !== "");
  listed.sort((one, other) => other[1] - one[1]);
  $(id).replaceChildren(element("option", {value: "", textContent: none}),
    ...listed.slice(0, most).map(([name, count, index]) => option(name, index, `${name} (${number(count)})`)));
  $(id).hidden = listed.length === 0;
}

export function keepInAddress(rejects) {
  const said = new URLSearchParams(), text = $("search").value.trim();
  if (text) said.set("q", text);
  for (const id of FILTERS) if ($(id).selectedIndex > 0) said.set(id, $(id).selectedOptions[0].dataset.name);
  if (rejects) said.set("rejected", "yes");
  history.replaceState(null, "", String(said) ? `#${said}` : location.pathname + location.search);
}

// Fills in the search and the filters, and says whether the rejected are asked for. What no menu has is searched for.
export function followAddress() {
  const said = new URLSearchParams(location.hash.slice(1)), words = [said.get("q") || ""];
  for (const id of FILTERS) {
    const name = said.get(id), place = [...$(id).options].findIndex((option) => option.dataset.name === name);
    $(id).selectedIndex = Math.max(0, place);
    if (name !== null && place < 0) words.push(name);
  }
  $("search").value = words.filter(Boolean).join(" ");
  return said.has("rejected");
}
