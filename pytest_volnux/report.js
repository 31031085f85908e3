
"use strict";
(() => {
  const STEP = 100;
  const { Scale, count, element, error, made, treesOf, visible } = rows;
  const collator = new Intl.Collator("en", { numeric: true });

  // -- a table, with what can be done with it ----------------------------------------------------

  class Table {
    constructor(section) {
      this.tab = document.getElementById("tab-" + section.id);
      this.section = section;
      this.element = section.querySelector("table");
      this.trees = [];
      this.matching = [];
      this.columns = [];
      if (!this.element) return;
      this.more = section.querySelector(".more");
      this.isTree = "tree" in this.element.dataset;
      this.trees = treesOf(section.id, this.isTree);
      this.scale = new Scale(this.trees);
      this.limit = STEP;
      this.columns = [...this.element.tHead.rows[0].cells].map((heading) => this.column(heading));
    }

    column(heading) {
      const { key, kind } = heading.dataset;
      const column = { key, kind, heading, isText: ["name", "where", "text", "error"].includes(kind) };
      if (key) {
        const button = element("button", { type: "button" }, ...heading.childNodes);
        button.addEventListener("click", () => this.turn(column));
        heading.append(button);
      }
      return column;
    }

    /** Sort by a column: the other way round if that is how it is sorted. */
    turn(column) {
      const now = column.heading.getAttribute("aria-sort");
      this.sort(column, now ? now === "ascending" : !column.isText);
      rewind();
    }

    sort(column, falls) {
      for (const { heading } of this.columns) heading.removeAttribute("aria-sort");
      column.heading.setAttribute("aria-sort", falls ? "descending" : "ascending");
      const { key, kind, isText } = column;
      const value = ({ row }) => kind === "error" ? error(row).map((it) => it.textContent ?? it).join("") : row[key];
      const sorted = (list) => {
        const keyed = list.map((one) => [value(one), one]);
        keyed.sort(([one], [other]) => {
          const order = isText ? collator.compare(one ?? "", other ?? "") : (one ?? -1) - (other ?? -1);
          return falls ? -order : order;
        });
        return keyed.map(([, one]) => one);
      };
      this.trees = sorted(this.trees);
      for (const tree of this.trees) tree.under = sorted(tree.under);
      this.limit = STEP;
      this.filter(this.matches);
      this.show();
    }

    filter(matches) {
      this.matches = matches;
      this.isStale = true;
      this.matching = matches ? this.trees.map((tree) => kept(tree, matches)).filter(Boolean) : this.trees;
      const number = this.matching.length;
      this.tab.querySelector("span").textContent = count(number);
      this.tab.classList.toggle("empty", number === 0);
    }

    show() {
      if (!this.element) return;
      for (const body of [...this.element.tBodies]) body.remove();
      this.shown = 0;
      this.isStale = false;
      this.grow(this.limit);
    }

    /** Show rows up to a number. */
    grow(limit) {
      this.limit = limit;
      const trees = this.matching.slice(this.shown, limit);
      this.shown += trees.length;
      if (this.isTree) {
        for (const { row, under } of trees) {
          const rows = under.map((it) => this.row(it.row, "under"));
          this.element.append(element("tbody", {}, this.row(row, "group"), ...rows));
        }
      } else {
        const body = this.element.tBodies[0] || this.element.createTBody();
        body.append(...trees.map(({ row }) => this.row(row, "")));
      }
      this.offer();
    }

    row(row, level) {
      return made(this.columns, row, level, this.scale);
    }

    offer() {
      const total = this.matching.length;
      this.more.replaceChildren();
      if (total === 0) {
        const button = element("button", { type: "button" }, "Clear the filter");
        button.addEventListener("click", clear);
        this.more.append("Nothing here matches the filter.", button);
      }
      if (this.shown >= total) return;
      this.more.append(`${count(this.shown)} of ${count(total)} are shown.`);
      const offers = [[this.shown + 5 * STEP, `Show ${count(5 * STEP)} more`], [total, `Show all ${count(total)}`]];
      for (const [limit, label] of offers.filter(([limit], at) => at === 1 || limit < total)) {
        const button = element("button", { type: "button" }, label);
        button.addEventListener("click", () => {
          this.grow(limit);
          (this.more.querySelector("button") ?? this.tab).focus({ preventScroll: true });
        });
        this.more.append(button);
      }
    }
  }

  /** What is left of a tree: all of it if its own name matches, else what matches under it. */
  function kept(tree, matches) {
    if (matches(tree.texts)) return tree;
    const under = tree.under.filter((it) => matches(it.texts));
    return under.length ? { ...tree, under } : null;
  }

  // -- the page ----------------------------------------------------------------------------------

  if (!document.querySelector(".tools")) return; // nothing was recorded

  const tables = [...document.querySelectorAll("main > section")].map((section) => new Table(section));
  const tabs = tables.map((table) => table.tab);
  const input = document.getElementById("filter");
  const found = document.getElementById("found");
  const tools = document.querySelector(".tools");
  const main = document.querySelector("main");
  let open = null;

  function select(table) {
    open = table;
    for (const it of tables) {
      it.section.classList.toggle("open", it === table);
      it.tab.setAttribute("aria-selected", String(it === table));
      it.tab.tabIndex = it === table ? 0 : -1;
    }
    if (table.isStale) table.show();
    rewind();
  }

  /** Show the first rows, where those that came after them were seen. */
  function rewind() {
    const top = main.getBoundingClientRect().top - tools.offsetHeight;
    if (top < 0 && isSticky()) scrollBy(0, top);
  }

  const isSticky = () => getComputedStyle(tools).position === "sticky";

  /** A part of the text, whatever its case; with * or ? in it, all of the text. */
  function matcher(pattern) {
    const wanted = visible(pattern).toLowerCase();
    if (!wanted) return null;
    if (!/[*?]/.test(wanted)) return (list) => list.some((text) => text.includes(wanted));
    const source = wanted.replace(/[\\^$.|+()[\]{}]/g, "\\$&").replace(/\*+/g, ".*").replace(/\?/g, ".");
    const glob = new RegExp(`^${source}$`, "u");
    return (list) => list.some((text) => glob.test(text));
  }

  function filter() {
    const matches = matcher(input.value);
    for (const table of tables) {
      table.limit = STEP;
      table.filter(matches);
    }
    const sum = (name) => tables.reduce((sofar, table) => sofar + table[name].length, 0);
    found.textContent = matches ? `${count(sum("matching"))} of ${count(sum("trees"))} rows` : "";
    open.show();
    rewind();
  }

  function clear() {
    input.value = "";
    input.focus();
    filter();
  }

  function go(table) {
    history.replaceState(null, "", table.tab.hash);
    select(table);
  }

  const named = () => tables.find((table) => "#" + table.section.id === location.hash);

  document.querySelector("nav").setAttribute("role", "tablist");
  for (const table of tables) {
    table.section.setAttribute("role", "tabpanel");
    table.section.setAttribute("aria-labelledby", table.tab.id);
    table.tab.setAttribute("role", "tab");
    table.tab.setAttribute("aria-controls", table.section.id);
    table.tab.addEventListener("click", (event) => {
      event.preventDefault();
      go(table);
    });
    table.tab.addEventListener("keydown", (event) => {
      const at = tabs.indexOf(table.tab);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = tabs[(to + tabs.length) % tabs.length];
      next.focus();
      next.click();
    });
  }
  for (const link of document.querySelectorAll(".summary a")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const table = tables.find((it) => it.tab.hash === link.hash);
      const column = table.columns.find((it) => it.key === link.dataset.order);
      if (column) table.sort(column, true);
      go(table);
      table.tab.focus({ preventScroll: true });
      if (!isSticky()) tools.scrollIntoView();
    });
  }
  addEventListener("beforeprint", () => tables.filter((table) => table.isStale).forEach((table) => table.show()));
  addEventListener("hashchange", () => { if (named()) select(named()); });
  addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== input) {
      event.preventDefault();
      input.focus();
    } else if (event.key === "Escape" && document.activeElement === input && input.value) {
      clear();
    }
  });
  input.addEventListener("input", filter);
  new ResizeObserver(() => {
    document.documentElement.style.setProperty("--tools", tools.offsetHeight + "px");
  }).observe(tools);
  document.querySelector("search").hidden = false;
  open = named() || tables.find((table) => table.trees.length) || tables[0];
  filter();
  select(open);
})();
