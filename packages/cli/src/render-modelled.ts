import type { ModelledFigures } from '@iommukit/integration';
import { modelledText } from './report-words.ts';
import { plainTable } from './table.ts';

/** What declared costs make of the counts, one run a row; every figure says that it is modelled. */
export function renderModelled({ costs, runs, throughput }: ModelledFigures): string {
  const table = plainTable(['id', 'way', `modelled with ${costs.file}`]);
  for (const { scenario, way, time } of runs) table.push([scenario, way, modelledText(time)]);
  for (const { way, missesPerPage, gbps } of throughput) {
    const figure = `${missesPerPage.toFixed(4)} misses a page = ${gbps.toFixed(1)} Gb/s modelled`;
    table.push(['SX-5', way, figure]);
  }
  if (runs.length + throughput.length > 0) return `${table.toString()}\n`;
  return `modelled with ${costs.file}: no run that evidence is from has a count with a declared cost\n`;
}
