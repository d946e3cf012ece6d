// The theme's colours for a canvas, which knows no style sheets. Names of functions get colours by their number.

/** The same as `COLOURS` in nbray_widgets/picture/timeline.py: told apart by people who see some colours alike. Red is for failures. */
export const COLOURS = [
  "#3b82d6", "#e69f00", "#1b9e77", "#a06cd5", "#56b4e9", "#b8860b", "#7fb069", "#cc79a7", "#5f7d95", "#d4a373", "#2a9d8f", "#8d99ae",
];

export function colourOf(number) {
  return COLOURS[number % COLOURS.length];
}

const NAMES = ["page", "text", "faint", "line", "track", "card", "failed", "running", "actor"];

/** Resolves the `--nb-*` colours at `root`, anew when the theme has changed; `changed()` is called then. */
export class Theme {
  constructor(root, changed) {
    this.probe = document.createElement("i");
    this.probe.hidden = true;
    this.root = root;
    root.append(this.probe);
    this.changed = () => {
      this.known = null;
      changed();
    };
    // A theme's style sheet may arrive after the page has said that there is another theme.
    this.later = () => {
      this.changed();
      clearTimeout(this.timer);
      this.timer = setTimeout(this.changed, 600);
    };
    this.observer = new MutationObserver(this.later);
    for (const node of [document.documentElement, document.body]) {
      this.observer.observe(node, { attributes: true, attributeFilter: ["class", "style", "data-jp-theme-light", "data-jp-theme-name"] });
    }
    this.media = matchMedia("(prefers-color-scheme: dark)");
    this.media.addEventListener("change", this.later);
  }

  get colours() {
    if (!this.root.isConnected) return (this.unknown ??= Object.fromEntries(NAMES.map((name) => [name, "#888"])));
    if (!this.known || performance.now() - this.asked > 2000) {
      this.asked = performance.now();
      this.known = {};
      for (const name of NAMES) {
        this.probe.style.color = `var(--nb-${name})`;
        this.known[name] = getComputedStyle(this.probe).color;
      }
      this.known.font = getComputedStyle(this.root).fontFamily;
    }
    return this.known;
  }

  end() {
    clearTimeout(this.timer);
    this.observer.disconnect();
    this.media.removeEventListener("change", this.later);
  }
}
