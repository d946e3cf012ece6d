// The kernel puts a picture without scripts beside the widget (`nbray_widgets/shell.py`). It is for when no widget is there: a view
// takes it out of the page, again whenever the kernel has renewed it, and puts it back when it goes itself.

export class Still {
  constructor(root, token) {
    this.root = root;
    this.token = token;
    this.taken = new Map();
    this.observer = new MutationObserver(() => this.take());
  }

  /** Called once the view may be in the page. */
  look() {
    if (this.area || !this.root.isConnected) return;
    // Each copy of an output (JupyterLab can show one twice) has a still of its own.
    this.area = this.root.closest(".jp-OutputArea") ?? document.body;
    this.take();
    this.observer.observe(this.area, { childList: true, subtree: true });
  }

  take() {
    const token = this.token();
    if (!token) return;
    for (const frame of this.area.getElementsByClassName(`nbray-of-${token}`)) {
      if (!frame.hasChildNodes()) continue;
      for (const known of this.taken.keys()) if (!known.isConnected) this.taken.delete(known);
      this.taken.set(frame, [...frame.childNodes]);
      frame.replaceChildren();
      const row = frame.closest(".jp-OutputArea-child");
      if (row) row.style.display = "none";
    }
  }

  back() {
    this.observer.disconnect();
    for (const [frame, children] of this.taken) {
      frame.replaceChildren(...children);
      const row = frame.closest(".jp-OutputArea-child");
      if (row) row.style.display = "";
    }
    this.taken.clear();
  }
}
