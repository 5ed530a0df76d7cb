import type {
  DmaAllocEvent,
  DmaDirection,
  DmaFreeEvent,
  DmaMapEvent,
  DmaSyncEvent,
  DmaUnmapEvent,
  EventHeader,
  TraceEvent,
} from './ftrace-event.ts';
import type { LineScanner } from './line-scanner.ts';

/** Reads what follows an event's name; what was missed is in `s.expected`. */
export type PayloadReader = (s: LineScanner, h: EventHeader) => TraceEvent;

const NO_ADDRESSES: readonly number[] = [];

function direction(s: LineScanner): DmaDirection {
  const word = s.word();
  switch (word) {
    case 'BIDIRECTIONAL':
    case 'TO_DEVICE':
    case 'FROM_DEVICE':
    case 'NONE':
      return word;
    default:
      s.fail('BIDIRECTIONAL, TO_DEVICE, FROM_DEVICE or NONE');
      return 'NONE';
  }
}

function dmaMap(event: DmaMapEvent['event']): PayloadReader {
  return (s, h) => {
    const device = s.name('a device name');
    s.literal(' dir=');
    const dir = direction(s);
    s.literal(' dma_addr=');
    const dmaAddr = s.hex();
    s.literal(' size=');
    const size = s.decimal();
    s.literal(' phys_addr=');
    const physAddr = s.hex();
    s.literal(' attrs=');
    const attrs = s.word();
    const { line, tsUs, cpu, pid, context } = h;
    return {
      event,
      line,
      tsUs,
      cpu,
      pid,
      context,
      device,
      dir,
      dmaAddr,
      size,
      physAddr,
      attrs,
    };
  };
}

function dmaUnmap(event: DmaUnmapEvent['event']): PayloadReader {
  return (s, h) => {
    const device = s.name('a device name');
    s.literal(' dir=');
    const dir = direction(s);
    s.literal(' dma_addr=');
    const dmaAddr = s.hex();
    s.literal(' size=');
    const size = s.decimal();
    s.literal(' attrs=');
    const attrs = s.word();
    const { line, tsUs, cpu, pid, context } = h;
    return { event, line, tsUs, cpu, pid, context, device, dir, dmaAddr, size, attrs };
  };
}

// "shown/full": at most 128 are shown.
function fullCount(s: LineScanner): number {
  s.decimal();
  s.literal('/');
  return s.decimal();
}

function readDmaMapSg(s: LineScanner, h: EventHeader): TraceEvent {
  const device = s.name('a device name');
  s.literal(' dir=');
  const dir = direction(s);
  let nents = -1;
  let ents = -1;
  let truncated = false;
  // Kernels before the 128-entry cap print no counts.
  if (s.skip(' nents=')) {
    nents = fullCount(s);
    s.literal(' ents=');
    ents = fullCount(s);
    truncated = s.skip(' [TRUNCATED]');
  }
  s.literal(' dma_addrs=');
  const dmaAddrs = s.hexList();
  s.literal(' sizes=');
  const sizes = s.hexList();
  s.literal(' phys_addrs=');
  const physAddrs = s.hexList();
  s.literal(' attrs=');
  const attrs = s.word();
  if (nents < 0) nents = physAddrs.length;
  if (ents < 0) ents = dmaAddrs.length;
  if (sizes.length !== dmaAddrs.length) s.fail('as many sizes as dma_addrs');
  const { line, tsUs, cpu, pid, context } = h;
  return {
    event: 'dma_map_sg',
    line,
    tsUs,
    cpu,
    pid,
    context,
    device,
    dir,
    nents,
    ents,
    truncated,
    dmaAddrs,
    sizes,
    physAddrs,
    attrs,
  };
}

function readDmaMapSgErr(s: LineScanner, h: EventHeader): TraceEvent {
  const device = s.name('a device name');
  s.literal(' dir=');
  const dir = direction(s);
  s.literal(' dma_addrs=');
  const physAddrs = s.hexList();
  s.literal(' err=');
  const err = s.signed();
  s.literal(' attrs=');
  const attrs = s.word();
  const { line, tsUs, cpu, pid, context } = h;
  return {
    event: 'dma_map_sg_err',
    line,
    tsUs,
    cpu,
    pid,
    context,
    device,
    dir,
    physAddrs,
    err,
    attrs,
  };
}

function readDmaUnmapSg(s: LineScanner, h: EventHeader): TraceEvent {
  const device = s.name('a device name');
  s.literal(' dir=');
  const dir = direction(s);
  s.literal(' phys_addrs=');
  const physAddrs = s.hexList();
  s.literal(' attrs=');
  const attrs = s.word();
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'dma_unmap_sg', line, tsUs, cpu, pid, context, device, dir, physAddrs, attrs };
}

function dmaBuffer(event: DmaAllocEvent['event'] | DmaFreeEvent['event']): PayloadReader {
  const flagged = event.startsWith('dma_alloc');
  return (s, h) => {
    const device = s.name('a device name');
    const dir = s.skip(' dir=') ? direction(s) : 'NONE';
    s.literal(' dma_addr=');
    const dmaAddr = s.hex();
    s.literal(' size=');
    const size = s.decimal();
    let physAddrs = NO_ADDRESSES;
    if (s.skip(' phys_addrs=')) physAddrs = s.hexList();
    else if (s.skip(' virt_addr=')) s.word();
    else s.fail('"virt_addr=" or "phys_addrs="');
    if (flagged) {
      s.literal(' flags=');
      s.word();
    }
    let attrs = '';
    if (event !== 'dma_free_sgt') {
      s.literal(' attrs=');
      attrs = s.word();
    }
    const { line, tsUs, cpu, pid, context } = h;
    return {
      event,
      line,
      tsUs,
      cpu,
      pid,
      context,
      device,
      dir,
      dmaAddr,
      size,
      physAddrs,
      attrs,
    };
  };
}

function dmaSync(event: DmaSyncEvent['event']): PayloadReader {
  const single = event.startsWith('dma_sync_single');
  return (s, h) => {
    const device = s.name('a device name');
    s.literal(' dir=');
    const dir = direction(s);
    s.literal(single ? ' dma_addr=' : ' dma_addrs=');
    const dmaAddrs = single ? [s.hex()] : s.hexList();
    s.literal(single ? ' size=' : ' sizes=');
    const sizes = single ? [s.decimal()] : s.hexList();
    if (sizes.length !== dmaAddrs.length) s.fail('as many sizes as dma_addrs');
    const { line, tsUs, cpu, pid, context } = h;
    return { event, line, tsUs, cpu, pid, context, device, dir, dmaAddrs, sizes };
  };
}

/** Readers of the `dma:*` events by name. */
export const DMA_PAYLOADS: readonly (readonly [string, PayloadReader])[] = [
  ['dma_map_page', dmaMap('dma_map_page')],
  ['dma_map_phys', dmaMap('dma_map_phys')],
  ['dma_map_resource', dmaMap('dma_map_resource')],
  ['dma_unmap_page', dmaUnmap('dma_unmap_page')],
  ['dma_unmap_phys', dmaUnmap('dma_unmap_phys')],
  ['dma_unmap_resource', dmaUnmap('dma_unmap_resource')],
  ['dma_map_sg', readDmaMapSg],
  ['dma_map_sg_err', readDmaMapSgErr],
  ['dma_unmap_sg', readDmaUnmapSg],
  ['dma_alloc', dmaBuffer('dma_alloc')],
  ['dma_alloc_pages', dmaBuffer('dma_alloc_pages')],
  ['dma_alloc_sgt', dmaBuffer('dma_alloc_sgt')],
  ['dma_alloc_sgt_err', dmaBuffer('dma_alloc_sgt_err')],
  ['dma_free', dmaBuffer('dma_free')],
  ['dma_free_pages', dmaBuffer('dma_free_pages')],
  ['dma_free_sgt', dmaBuffer('dma_free_sgt')],
  ['dma_sync_single_for_cpu', dmaSync('dma_sync_single_for_cpu')],
  ['dma_sync_single_for_device', dmaSync('dma_sync_single_for_device')],
  ['dma_sync_sg_for_cpu', dmaSync('dma_sync_sg_for_cpu')],
  ['dma_sync_sg_for_device', dmaSync('dma_sync_sg_for_device')],
];
