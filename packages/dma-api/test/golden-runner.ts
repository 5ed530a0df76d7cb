import type { DmaDevice, DmaDirection, SgElement } from '../src/index.ts';
import { DMA_MAPPING_ERROR, dmaProt } from '../src/index.ts';
import { type Call, h, Machine, type Mock } from './fake-iommu.ts';

export interface Step {
  op: string;
  sg?: [string, string, string, string?][];
  dir?: DmaDirection;
  attrs?: string[];
  phys?: string;
  dma?: string;
  size?: string;
  limit?: string;
  iova?: string;
  addr?: string;
  cpu?: number;
  calls?: Call[];
  ret?: number | string;
  out?: Call[];
  pci_32bit?: number;
  list_after?: unknown;
}

export interface Case {
  op?: string;
  dir?: DmaDirection;
  attrs?: string[];
  coherent?: boolean;
  ret?: number;
  domain?: {
    pgsize_bitmap: string;
    mask: string;
    bus_dma_limit?: string;
    aperture_end: string;
    coherent?: boolean;
    untrusted?: boolean;
    pci?: boolean;
    min_align_mask?: string;
    seg_boundary?: string;
    max_seg?: string;
    start_pfn?: string;
    reserve?: [string, string][];
    sync_map_op?: boolean;
    mock?: Mock;
  };
  steps?: Step[];
}

function n(text: string | undefined): number {
  return Number(BigInt(text ?? '0x0'));
}

/** An inclusive limit of the form 2^k - 1, or any other, as an exclusive end. */
function endOf(last: string): number {
  return Number(BigInt(last) + 1n);
}

function attrsOf(attrs: string[] = []) {
  return {
    mmio: attrs.includes('MMIO'),
    privileged: attrs.includes('PRIVILEGED'),
    skipCpuSync: attrs.includes('SKIP_CPU_SYNC'),
    requireCoherent: attrs.includes('REQUIRE_COHERENT'),
  };
}

// Bounce buffers are not modelled, and the barrier after cache maintenance is not a call of its own.
const UNSEEN = new Set(['bounce_cpu', 'bounce_dev', 'cache_flush']);

/** Why a case cannot be put to our interfaces; undefined when it can. */
export function inapplicable(c: Case): string | undefined {
  if (c.domain?.untrusted === true) return 'bounce buffers';
  return undefined;
}

/** What is recorded of a step, and what our code did: equal when all is well. */
export interface Outcome {
  readonly expected: object;
  readonly actual: object;
}

export function runCase(c: Case): Outcome[] {
  if (c.domain === undefined) {
    const coherence = c.coherent === true ? 'coherent' : 'non-coherent';
    const actual = dmaProt(c.dir ?? 'NONE', attrsOf(c.attrs), coherence);
    return [{ expected: { ret: c.ret }, actual: { ret: actual } }];
  }
  const d = c.domain;
  const granule = [...BigInt(d.pgsize_bitmap).toString(2)].reverse().indexOf('1');
  const machine = new Machine({
    version: '7.3',
    pgsizeBitmap: n(d.pgsize_bitmap),
    apertureEnd: endOf(d.aperture_end),
    apertureStart: n(d.start_pfn ?? '0x1') * 2 ** granule,
    isPci: d.pci === true,
    syncMap: d.sync_map_op === true,
    ...(d.mock === undefined ? {} : { mock: d.mock }),
  });
  const dev = machine.setUp({
    dmaBits: Math.log2(endOf(d.mask)),
    coherent: d.coherent === true,
    ...(d.bus_dma_limit === undefined ? {} : { busDmaLimit: endOf(d.bus_dma_limit) }),
    ...(d.max_seg === undefined ? {} : { maxSegSize: n(d.max_seg) }),
    ...(d.seg_boundary === undefined ? {} : { segBoundary: endOf(d.seg_boundary) }),
    ...(d.min_align_mask === undefined ? {} : { minAlignMask: n(d.min_align_mask) }),
  });
  for (const [lo, hi] of d.reserve ?? []) machine.dma.reserve(dev.domain, n(lo), n(hi));
  let list: SgElement[] = [];
  return (c.steps ?? []).map((step) => {
    machine.take();
    const actual: Record<string, unknown> = {};
    list = runStep(machine, dev, step, list, actual);
    actual['calls'] = machine.take();
    const expected: Record<string, unknown> = {
      calls: (step.calls ?? []).filter(([name]) => !UNSEEN.has(String(name))),
    };
    for (const key of ['ret', 'out', 'pci_32bit', 'iova', 'list_after'] as const)
      if (step[key] !== undefined && !(key === 'iova' && step.op !== 'msi'))
        expected[key] = step[key];
    return { expected, actual };
  });
}

function runStep(
  { dma, least }: Machine,
  dev: DmaDevice,
  step: Step,
  list: SgElement[],
  actual: Record<string, unknown>,
): SgElement[] {
  const dir = step.dir ?? 'NONE';
  const attrs = attrsOf(step.attrs);
  switch (step.op) {
    case 'iova_alloc':
      actual['ret'] = h(dma.allocIova(dev, n(step.size), endOf(step.limit ?? '0x0')));
      actual['pci_32bit'] = dev.pci32bitWorkaround ? 1 : 0;
      return list;
    case 'iova_free':
      dma.freeIova(dev.domain, n(step.iova), n(step.size));
      return list;
    case 'phys_map': {
      const address = dma.mapPage(dev, n(step.phys), n(step.size), dir, attrs);
      actual['ret'] = address === DMA_MAPPING_ERROR ? '0xffffffffffffffff' : h(address);
      return list;
    }
    case 'phys_unmap':
      dma.unmapPage(dev, n(step.dma), n(step.size), dir, attrs);
      return list;
    case 'single_sync':
      if (step.cpu === 1) dma.syncForCpu(dev, n(step.dma), n(step.size), dir);
      else dma.syncForDevice(dev, n(step.dma), n(step.size), dir);
      return list;
    case 'msi': {
      const address = dma.mapMsiPage(dev, n(step.addr));
      actual['ret'] = Math.min(address, 0);
      actual['iova'] = address < 0 ? '0x0' : h(address - (n(step.addr) % least));
      return list;
    }
    case 'sg_map': {
      const sg = (step.sg ?? []).map(([page, offset, length, flag]): SgElement => {
        const paddr = n(page) + n(offset);
        const element = {
          paddr,
          length: n(length),
          dmaAddress: 1,
          dmaLength: 1,
          dmaBus: false,
        };
        if (flag === 'bus') return { ...element, peer: 'bus', busAddress: paddr + 0x40_0000_0000 };
        if (flag === 'unsupported') return { ...element, peer: 'not-supported' };
        return element;
      });
      actual['ret'] = dma.mapSg(dev, sg, dir, attrs);
      const outputs = sg.map(({ dmaAddress, dmaLength, dmaBus }): Call => {
        const address = dmaAddress === DMA_MAPPING_ERROR ? '0xffffffffffffffff' : h(dmaAddress);
        return [address, h(dmaLength), ...(dmaBus ? ['bus'] : [])];
      });
      while (outputs.at(-1)?.[1] === '0x0') outputs.pop();
      if (step.out !== undefined || outputs.length > 0) actual['out'] = outputs;
      return sg;
    }
    case 'sg_unmap':
      dma.unmapSg(dev, list, dir, attrs);
      return list;
    case 'sg_sync':
      if (step.cpu === 1) dma.syncSgForCpu(dev, list, dir);
      else dma.syncSgForDevice(dev, list, dir);
      return list;
    default:
      throw new Error(`no such step: ${step.op}`);
  }
}
