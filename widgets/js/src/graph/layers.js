// Boxes in layers, for graphs that are too large for dagre in a frame's time. Pure; the still picture has the same idea in Python.

/**
 * Columns by dependency (`along` is "x" or "y"), in each column near to what a box is joined with.
 * `size`: node to {width, height}; `edges`: [{from, to}]. Returns {boxes, width, height}.
 */
export function layers(size, edges, direction, gap, between, margin) {
  const nodes = [...size.keys()];
  const joins = edges.filter(({ from, to }) => from !== to);
  const leads = new Map(nodes.map((node) => [node, []]));
  const near = new Map(nodes.map((node) => [node, []]));
  const needing = new Set(joins.map(({ to }) => to));
  for (const { from, to } of joins) {
    leads.get(from).push(to);
    near.get(from).push(to);
    near.get(to).push(from);
  }
  // Which edge closes a cycle is seen on the way from those that need nothing: it leads back to where the way came from.
  const closing = new Map(nodes.map((node) => [node, new Set()]));
  const left = []; // each node after all that it leads to
  const next = new Map(nodes.map((node) => [node, 0]));
  const way = new Set();
  const seen = new Set();
  for (const root of [...nodes.filter((node) => !needing.has(node)), ...nodes.filter((node) => needing.has(node))]) {
    const stack = seen.has(root) ? [] : [root];
    while (stack.length) {
      const node = stack.at(-1);
      seen.add(node);
      way.add(node);
      const target = leads.get(node)[next.get(node)];
      next.set(node, next.get(node) + 1);
      if (target === undefined) {
        left.push(stack.pop());
        way.delete(node);
      } else if (way.has(target)) closing.get(node).add(target);
      else if (!seen.has(target)) stack.push(target);
    }
  }
  const rank = new Map(nodes.map((node) => [node, 0]));
  for (const node of left.reverse()) {
    for (const target of leads.get(node)) {
      if (!closing.get(node).has(target)) rank.set(target, Math.max(rank.get(target), rank.get(node) + 1));
    }
  }
  const columns = [];
  for (const node of nodes) (columns[rank.get(node)] ??= []).push(node);
  const place = new Map();
  const put = (column) => column.forEach((node, i) => place.set(node, (i + 0.5) / column.length));
  columns.forEach(put);
  for (const sweep of [columns, [...columns].reverse(), columns, [...columns].reverse()]) {
    for (const column of sweep) {
      const middle = new Map(
        column.map((node) => {
          const others = near.get(node);
          return [node, others.length ? others.reduce((sum, other) => sum + place.get(other), 0) / others.length : place.get(node)];
        }),
      );
      column.sort((a, b) => middle.get(a) - middle.get(b));
      put(column);
    }
  }
  const [long, wide] = direction === "LR" ? ["width", "height"] : ["height", "width"];
  const breadth = columns.map((column) => column.reduce((sum, node) => sum + size.get(node)[wide] + gap, -gap));
  const widest = Math.max(...breadth, 0);
  const boxes = new Map();
  let along = margin;
  columns.forEach((column, i) => {
    let across = margin + (widest - breadth[i]) / 2;
    const deep = Math.max(...column.map((node) => size.get(node)[long]));
    for (const node of column) {
      const { width, height } = size.get(node);
      boxes.set(node, direction === "LR" ? { x: along, y: across, width, height } : { x: across, y: along, width, height });
      across += size.get(node)[wide] + gap;
    }
    along += deep + between;
  });
  const length = along - between + margin;
  const other = widest + 2 * margin;
  return { boxes, width: direction === "LR" ? length : other, height: direction === "LR" ? other : length };
}
