import type { PageTable, ScenarioPage } from '@iommukit/integration';
import { BarChart, LineChart } from 'echarts/charts';
import { GridComponent, LegendComponent } from 'echarts/components';
import { init, use } from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';
import { escapeHtml } from './html-text.ts';
import { grouped } from './table.ts';

use([BarChart, LineChart, GridComponent, LegendComponent, SVGRenderer]);

/** Drawn at a phone's width: text stays readable there, and a wide window only enlarges it. */
const WIDTH = 420;
const COLOURS = ['#b3261e', '#8a5a00', '#1a5fb4', '#2e7d32', '#6a3d9a'];
const TEXT = { fontFamily: 'system-ui, sans-serif', fontSize: 12, color: '#222' };

const LOG_START = 0.5;
/** Stands in no label of its own. */
const MARK = '\u00a7';

/** Room for the labels of the axes within the picture. */
const LABELS_INSIDE = { outerBoundsMode: 'same', outerBoundsContain: 'axisLabel' } as const;

type Options = Parameters<ReturnType<typeof init>['setOption']>[0];

/** One picture and the numbers it shows: `links[series][index]` is the anchor of a bar or point, where it has one. */
interface Plot {
  /** Tells this picture's style classes from those of the others on the page. */
  readonly id: string;
  readonly title: string;
  readonly height: number;
  readonly options: Options;
  readonly links: readonly (readonly (string | undefined)[])[];
}

/** The lines of a table as bars, one group a line; on a logarithmic scale zero has no bar, and says so. */
export function plotTable(table: PageTable, id: string): string {
  const { title, columns, lines, plot } = table;
  const used = columns
    .map((name, k) => ({ name, cells: lines.map(({ cells }) => cells[k] ?? null) }))
    .filter(({ cells }) => cells.some((cell) => cell !== null));
  const bars = lines.reduce((sum, { cells }) => sum + cells.filter((c) => c !== null).length, 0);
  return svg({
    ...{ id, title, height: 80 + lines.length * 20 + bars * 17 },
    links: used.map(({ cells }) => cells.map((cell) => cell?.anchor)),
    options: {
      ...frame(),
      grid: {
        left: 16,
        right: 66,
        top: 34 + 18 * Math.floor(used.length / 4),
        bottom: 4,
        ...LABELS_INSIDE,
      },
      xAxis: {
        type: plot === 'log' ? 'log' : 'value',
        ...(plot === 'log' ? { min: LOG_START, startValue: LOG_START } : {}),
        axisLabel: { show: false },
        splitLine: { show: false },
        axisLine: { show: false },
        axisTick: { show: false },
      },
      yAxis: {
        type: 'category',
        inverse: true,
        data: lines.map(({ what }) => what),
        axisLabel: { ...TEXT, width: 108, overflow: 'break' },
        axisTick: { show: false },
      },
      series: used.map(({ name, cells }) => ({
        type: 'bar',
        name,
        barGap: '10%',
        barCategoryGap: '25%',
        // A scale of decades has no zero: such a bar has no length, but its label.
        data: cells.map((cell) => barOf(cell?.value, plot)),
        label: {
          ...TEXT,
          show: true,
          position: 'right',
          // The mark in front says whose label it is, and becomes a link.
          formatter: ({ dataIndex, seriesIndex }: { dataIndex: number; seriesIndex?: number }) =>
            `${MARK}${seriesIndex},${dataIndex}${MARK}${grouped(Number(cells[dataIndex]?.value))}`,
        },
      })),
    },
  });
}

/** Pages within a device's reach, over the unmaps that were done. */
export function plotExposure({ exposure }: ScenarioPage, id: string): string {
  if (exposure === undefined) return '';
  return svg({
    ...{ id, title: 'Pages that a device still reaches after their unmap', height: 280, links: [] },
    options: {
      ...lineFrame('unmaps done', 'pages'),
      series: exposure.series.map(({ way, points }) => ({
        type: 'line',
        name: way,
        showSymbol: false,
        data: points.map(({ unmaps, pages }) => [unmaps, pages]),
      })),
    },
  });
}

/** Table pages over mapped pages. */
export function plotTablePages({ tablePages }: ScenarioPage, id: string): string {
  return svg({
    ...{ id, title: 'Table pages over mapped pages of 4 KiB', height: 280 },
    links: tablePages.map(({ points }) => points.map(({ tables }) => tables.anchor)),
    options: {
      ...lineFrame('pages mapped', 'table pages'),
      series: tablePages.map(({ name, points }) => ({
        type: 'line',
        name,
        symbol: 'circle',
        symbolSize: 9,
        data: points.map(({ pages, tables }) => [Number(pages.value), Number(tables.value)]),
      })),
    },
  });
}

function barOf(value: unknown, plot: PageTable['plot']): number | '-' {
  if (typeof value !== 'number') return '-';
  return plot === 'log' ? Math.max(value, LOG_START) : value;
}

function frame(): Options {
  // Widths are estimated without a font; a browser's are up to a fifth larger.
  const legend = { top: 0, textStyle: TEXT, itemGap: 24, itemWidth: 14 };
  return { animation: false, color: COLOURS, textStyle: TEXT, legend };
}

function lineFrame(x: string, y: string): Options {
  const axis = { type: 'value', axisLabel: TEXT, nameTextStyle: TEXT } as const;
  return {
    ...frame(),
    grid: { left: 16, right: 24, top: 50, bottom: 30, ...LABELS_INSIDE },
    xAxis: { ...axis, name: x, nameLocation: 'middle', nameGap: 26 },
    yAxis: { ...axis, name: y, nameTextStyle: { ...TEXT, align: 'left' } },
  };
}

/** Renders without a browser; what the page does not need, such as a fixed size, is taken off. */
function svg({ id, title, height, options, links }: Plot): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height });
  chart.setOption(options);
  const drawn = chart.renderToSVGString();
  chart.dispose();
  return linked(drawn, links)
    .replace(/^<svg width="\d+" height="\d+"/, '<svg role="img"')
    .replace(/ xmlns(?::xlink)?="[^"]*"| version="1.1"| baseProfile="full"/g, '')
    .replace('>', `><title>${escapeHtml(title)}</title>`)
    .replace(/<style\s*>[\s\S]*?<\/style>/g, '')
    .replace(/ class="zr\d+-cls-\d+"/g, '')
    .replace(/\bzr\d+-/g, `${id}-`)
    .replace(/ ecmeta_\w+="[^"]*"/g, '')
    .replace(/\n+/g, '');
}

const SHAPE =
  /<path [^>]*ecmeta_series_index="(\d+)" ecmeta_data_index="(\d+)" ecmeta_ssr_type="chart"[^>]*><\/path>/g;
const LABEL = new RegExp(`(<text [^>]*>)${MARK}(\\d+),(\\d+)${MARK}([^<]*</text>)`, 'g');

/** Each bar, point and label becomes a link to its row. */
function linked(drawn: string, links: Plot['links']): string {
  const link = (series: string, index: string, shape: string): string => {
    const anchor = links[Number(series)]?.[Number(index)];
    return anchor === undefined ? shape : `<a href="#${anchor}">${shape}</a>`;
  };
  return drawn
    .replace(SHAPE, (shape, series: string, index: string) => link(series, index, shape))
    .replace(LABEL, (_, open: string, series: string, index: string, rest: string) =>
      link(series, index, `${open}${rest}`),
    );
}
