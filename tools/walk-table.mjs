// The documents that name files and functions, taken apart, and what of it is not there.
import { declarationOf } from './doc-style.mjs';

/** A path from the root, or below a package: a folder, a slash, and no blanks, globs or placeholders. */
const PATH = /^(?:packages|tools|\.ci|\.changeset)\/[\w./-]*$/;

/**
 * Tables of a Markdown text: their cells by column, row by row, with the line of each.
 * @returns {Record<string, string>[]}
 */
export function tableRows(markdown) {
  const rows = [];
  let columns;
  for (const [i, line] of markdown.split('\n').entries()) {
    if (!line.startsWith('|')) {
      columns = undefined;
      continue;
    }
    const cells = line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
    if (columns === undefined) columns = cells;
    else if (!cells.every((cell) => /^:?-+:?$/.test(cell)))
      rows.push({
        line: `${i + 1}`,
        ...Object.fromEntries(columns.map((name, k) => [name, cells[k] ?? ''])),
      });
  }
  return rows;
}

/**
 * What a text says is there: on which line, in which files, and which symbol of one of them.
 * @typedef {{ line: string, paths: string[], symbol?: string | undefined }} Named
 */

/**
 * The hops of the walks: rows of tables with a package, a file below it and a symbol.
 * @returns {Named[]}
 */
export function hopsOf(markdown) {
  return tableRows(markdown)
    .filter((row) => 'hop' in row && 'symbol' in row)
    .map(({ line, package: name, file, symbol }) => ({
      line,
      paths: [`packages/${quoted(name)[0]}/${quoted(file)[0]}`],
      symbol: quoted(symbol)[0],
    }));
}

/**
 * What is to be changed for a goal: rows of tables with a goal, files and symbols, each of which is in one of the files.
 * @returns {Named[]}
 */
export function goalsOf(markdown) {
  return tableRows(markdown)
    .filter((row) => 'goal' in row && 'symbol' in row)
    .flatMap(({ line, file, symbol }) => {
      const paths = [];
      for (const path of quoted(file))
        paths.push(path.includes('/') ? path : `${folderOf(paths.at(-1) ?? '')}${path}`);
      return [
        ...paths.map((path) => ({ line, paths: [path] })),
        ...quoted(symbol).map((one) => ({ line, paths, symbol: one })),
      ];
    });
}

/**
 * Paths in backticks and in links, from the root.
 * @returns {{ line: number, path: string }[]}
 */
export function pathsIn(markdown) {
  return markdown.split('\n').flatMap((text, i) => {
    const linked = [...text.matchAll(/\]\(([^)#]+)\)/g)].map((match) => match[1]);
    const local = linked.filter((target) => !/^\w+:/.test(target));
    return [...quoted(text).filter((path) => PATH.test(path)), ...local].map((path) => ({
      line: i + 1,
      path,
    }));
  });
}

/** True when a module declares `name`, `Class.member` or `Class.#member`; interfaces and objects have members too. */
export function hasSymbol(module, symbol) {
  const [name = '', member] = symbol.split('.');
  const node = declarationOf(module, name);
  if (node === undefined || member === undefined) return node !== undefined;
  const found = node.declaration ?? node;
  const made = found.declarations?.[0]?.init;
  const members = found.body?.body ?? (made?.expression ?? made)?.properties ?? [];
  return members.some(({ key }) => nameOf(key) === member);
}

function nameOf(key) {
  return key?.type === 'PrivateIdentifier' ? `#${key.name}` : key?.name;
}

function quoted(text) {
  return [...text.matchAll(/`([^`]+)`/g)].map((match) => match[1]);
}

function folderOf(path) {
  return path.slice(0, path.lastIndexOf('/') + 1);
}
