import type { PathologyReport, PathologyRow } from '@iommukit/integration';
import { grouped } from './table.ts';

const WIDTH = 760;
const HEIGHT = 460;
const LEFT = 90;
const RIGHT = 40;
const TOP = 50;
const BOTTOM = 70;

interface Line {
  readonly name: string;
  readonly colour: string;
  readonly nodes: (row: PathologyRow) => number;
}

const LINES: readonly Line[] = [
  { name: 'linear', colour: '#b3261e', nodes: (row) => row.linear.nodesPerAllocation },
  { name: 'augmented', colour: '#1a5fb4', nodes: (row) => row.augmented.nodesPerAllocation },
];

/** Nodes visited per allocation over live ranges, both axes logarithmic, as an SVG document; the rows whose requests find room. */
export function plotPathology(report: PathologyReport): string {
  const rows = report.rows.filter(({ room }) => room === 'below');
  const xDecades = decades(rows.map(({ live }) => live));
  const yDecades = decades([1, ...rows.flatMap((row) => LINES.map(({ nodes }) => nodes(row)))]);
  const place = (value: number, [first, last]: Decades, from: number, to: number): number =>
    from + ((Math.log10(value) - first) / (last - first)) * (to - from);
  const x = (value: number): number => place(value, xDecades, LEFT, WIDTH - RIGHT);
  const y = (value: number): number => place(value, yDecades, HEIGHT - BOTTOM, TOP);

  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="sans-serif" font-size="13">`,
    '<title>Nodes visited for one allocation in a fragmented IOVA space</title>',
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text(WIDTH / 2, 28, 'middle', 'Nodes visited for one allocation in a fragmented IOVA space'),
  ];
  for (const value of ticks(xDecades)) {
    const at = x(value).toFixed(1);
    parts.push(
      `<line x1="${at}" y1="${TOP}" x2="${at}" y2="${HEIGHT - BOTTOM}" stroke="#ddd"/>`,
      text(x(value), HEIGHT - BOTTOM + 20, 'middle', grouped(value)),
    );
  }
  for (const value of ticks(yDecades)) {
    const at = y(value).toFixed(1);
    parts.push(
      `<line x1="${LEFT}" y1="${at}" x2="${WIDTH - RIGHT}" y2="${at}" stroke="#ddd"/>`,
      text(LEFT - 8, y(value) + 4, 'end', grouped(value)),
    );
  }
  parts.push(
    `<path d="M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}" fill="none" stroke="#333"/>`,
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 45, 'middle', 'ranges in use'),
    `<text transform="translate(22 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">nodes visited</text>`,
  );
  for (const { name, colour, nodes } of LINES) {
    const points = rows.map((row) => `${x(row.live).toFixed(1)},${y(nodes(row)).toFixed(1)}`);
    parts.push(
      `<polyline points="${points.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
    );
    for (const [k, row] of rows.entries()) {
      const [cx, cy] = (points[k] as string).split(',');
      const label = `${name}, ${grouped(row.live)} in use below 2^${row.addressBits}: ${grouped(Math.round(nodes(row)))} nodes`;
      parts.push(
        `<circle cx="${cx}" cy="${cy}" r="4" fill="${colour}"><title>${label}</title></circle>`,
      );
    }
    const last = rows.at(-1);
    if (last !== undefined)
      parts.push(
        `<text x="${(x(last.live) - 10).toFixed(1)}" y="${(y(nodes(last)) - 10).toFixed(1)}" text-anchor="end" fill="${colour}">${name}</text>`,
      );
  }
  parts.push('</svg>', '');
  return parts.join('\n');
}

type Decades = readonly [first: number, last: number];

/** Exponents of the powers of ten around the values; at least one decade wide. */
function decades(values: readonly number[]): Decades {
  const logs = values.map((value) => Math.log10(Math.max(value, 1)));
  const first = Math.floor(Math.min(...logs));
  return [first, Math.max(first + 1, Math.ceil(Math.max(...logs)))];
}

function ticks([first, last]: Decades): number[] {
  return Array.from({ length: last - first + 1 }, (_, k) => 10 ** (first + k));
}

function text(x: number, y: number, anchor: 'middle' | 'end', content: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${content}</text>`;
}
