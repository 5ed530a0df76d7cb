import { DMA_PAYLOADS, type PayloadReader } from './dma-payload.ts';
import type { EventHeader, TraceEvent } from './ftrace-event.ts';
import type { LineScanner } from './line-scanner.ts';

function flag(s: LineScanner): boolean {
  return s.decimal() !== 0;
}

// A return probe cannot follow a null pointer and prints this instead of the member.
function pfnOrFault(s: LineScanner): number {
  return s.skip('(fault)') ? -1 : s.pfn();
}

// Kprobe events start with the probed address in brackets; the guest digest leaves it out.
function probe(s: LineScanner): void {
  if (s.peek() !== 40) return;
  const close = s.text.indexOf(')', s.pos);
  if (close < 0 || close >= s.end) {
    s.fail('")" after the probed address');
    return;
  }
  s.pos = close + 1;
  s.spaces();
}

function span(s: LineScanner, iova: number): number {
  s.literal(' - 0x');
  const end = s.hex();
  return end - iova;
}

function readMap(s: LineScanner, h: EventHeader): TraceEvent {
  s.literal('IOMMU: iova=0x');
  const iova = s.hex();
  // Kernels before 5.17 print the start only.
  const ranged = s.peek() === 32 && s.text.charCodeAt(s.pos + 1) === 45;
  const bytes = ranged ? span(s, iova) : 0;
  s.literal(' paddr=0x');
  const paddr = s.hex();
  s.literal(' size=');
  const size = s.integer();
  if (ranged && bytes !== size) s.fail('a size that equals the IOVA range');
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'map', line, tsUs, cpu, pid, context, iova, paddr, size };
}

function readUnmap(s: LineScanner, h: EventHeader): TraceEvent {
  s.literal('IOMMU: iova=0x');
  const iova = s.hex();
  const ranged = s.peek() === 32 && s.text.charCodeAt(s.pos + 1) === 45;
  const bytes = ranged ? span(s, iova) : 0;
  s.literal(' size=');
  const size = s.integer();
  s.literal(' unmapped_size=');
  const unmappedSize = s.integer();
  if (ranged && bytes !== size) s.fail('a size that equals the IOVA range');
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'unmap', line, tsUs, cpu, pid, context, iova, size, unmappedSize };
}

function attach(event: 'attach_device_to_domain' | 'detach_device_from_domain'): PayloadReader {
  return (s, h) => {
    s.skip('IOMMU: ');
    s.literal('device=');
    const device = s.name('a device name');
    const { line, tsUs, cpu, pid, context } = h;
    return { event, line, tsUs, cpu, pid, context, device };
  };
}

function group(event: 'add_device_to_group' | 'remove_device_from_group'): PayloadReader {
  return (s, h) => {
    s.skip('IOMMU: ');
    s.literal('groupID=');
    const groupId = s.decimal();
    s.literal(' device=');
    const device = s.name('a device name');
    const { line, tsUs, cpu, pid, context } = h;
    return { event, line, tsUs, cpu, pid, context, groupId, device };
  };
}

function readIoPageFault(s: LineScanner, h: EventHeader): TraceEvent {
  s.literal('IOMMU:');
  const driver = s.word();
  s.literal(' ');
  const device = s.word();
  s.literal(' iova=0x');
  const iova = s.hex64();
  s.literal(' flags=0x');
  const flags = s.hex();
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'io_page_fault', line, tsUs, cpu, pid, context, driver, device, iova, flags };
}

function readAllocFast(s: LineScanner, h: EventHeader): TraceEvent {
  probe(s);
  s.literal('iovad=');
  const iovad = s.pointer();
  s.literal(' size=');
  const size = s.decimal();
  s.literal(' limit_pfn=');
  const limitPfn = s.pfn();
  s.literal(' flush=');
  const flush = flag(s);
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'alloc_fast', line, tsUs, cpu, pid, context, iovad, size, limitPfn, flush };
}

function readAllocFastRet(s: LineScanner, h: EventHeader): TraceEvent {
  probe(s);
  s.literal('pfn=');
  const pfn = s.pfn();
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'alloc_fast_ret', line, tsUs, cpu, pid, context, pfn };
}

function readAlloc(s: LineScanner, h: EventHeader): TraceEvent {
  probe(s);
  s.literal('iovad=');
  const iovad = s.pointer();
  s.literal(' size=');
  const size = s.decimal();
  s.literal(' limit_pfn=');
  const limitPfn = s.pfn();
  s.literal(' aligned=');
  const aligned = flag(s);
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'alloc', line, tsUs, cpu, pid, context, iovad, size, limitPfn, aligned };
}

function readAllocRet(s: LineScanner, h: EventHeader): TraceEvent {
  probe(s);
  s.literal('iova=');
  const node = s.pointer();
  s.literal(' pfn_hi=');
  const pfnHi = pfnOrFault(s);
  s.literal(' pfn_lo=');
  const pfnLo = pfnOrFault(s);
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'alloc_ret', line, tsUs, cpu, pid, context, node, pfnHi, pfnLo };
}

function readFreeFast(s: LineScanner, h: EventHeader): TraceEvent {
  probe(s);
  s.literal('iovad=');
  const iovad = s.pointer();
  s.literal(' pfn=');
  const pfn = s.pfn();
  s.literal(' size=');
  const size = s.decimal();
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'free_fast', line, tsUs, cpu, pid, context, iovad, pfn, size };
}

function readFree(s: LineScanner, h: EventHeader): TraceEvent {
  probe(s);
  s.literal('iovad=');
  const iovad = s.pointer();
  s.literal(' pfn=');
  const pfn = s.pfn();
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'free', line, tsUs, cpu, pid, context, iovad, pfn };
}

function readFreeSlow(s: LineScanner, h: EventHeader): TraceEvent {
  probe(s);
  s.literal('iovad=');
  const iovad = s.pointer();
  s.literal(' pfn_hi=');
  const pfnHi = pfnOrFault(s);
  s.literal(' pfn_lo=');
  const pfnLo = pfnOrFault(s);
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'free_slow', line, tsUs, cpu, pid, context, iovad, pfnHi, pfnLo };
}

function readReserve(s: LineScanner, h: EventHeader): TraceEvent {
  probe(s);
  s.literal('iovad=');
  const iovad = s.pointer();
  s.literal(' pfn_lo=');
  const pfnLo = s.pfn();
  s.literal(' pfn_hi=');
  const pfnHi = s.pfn();
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'reserve', line, tsUs, cpu, pid, context, iovad, pfnHi, pfnLo };
}

function readInit(s: LineScanner, h: EventHeader): TraceEvent {
  probe(s);
  s.literal('iovad=');
  const iovad = s.pointer();
  s.literal(' granule=');
  const granule = s.decimal();
  s.literal(' start_pfn=');
  const startPfn = s.pfn();
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'init', line, tsUs, cpu, pid, context, iovad, granule, startPfn };
}

function readFqFlush(s: LineScanner, h: EventHeader): TraceEvent {
  probe(s);
  s.literal('cookie=');
  const cookie = s.pointer();
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'fq_flush', line, tsUs, cpu, pid, context, cookie };
}

function readFqTimeout(s: LineScanner, h: EventHeader): TraceEvent {
  probe(s);
  s.literal('timer=');
  const timer = s.pointer();
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'fq_timeout', line, tsUs, cpu, pid, context, timer };
}

function readCmdlist(s: LineScanner, h: EventHeader): TraceEvent {
  probe(s);
  s.literal('n=');
  const n = s.decimal();
  s.literal(' sync=');
  const sync = flag(s);
  s.literal(' c0d0=0x');
  const c0 = s.hex64();
  s.literal(' c0d1=0x');
  const c1 = s.hex64();
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'cmdlist', line, tsUs, cpu, pid, context, n, sync, c0, c1 };
}

function readTlbInvContext(s: LineScanner, h: EventHeader): TraceEvent {
  probe(s);
  s.literal('domain=');
  const domain = s.pointer();
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'tlb_inv_context', line, tsUs, cpu, pid, context, domain };
}

function readEvtqThread(s: LineScanner, h: EventHeader): TraceEvent {
  probe(s);
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'evtq_thread', line, tsUs, cpu, pid, context };
}

/** A line of `trace_marker`; `mark` is its name in the guest digest. */
export function readMark(s: LineScanner, h: EventHeader): TraceEvent {
  const text = s.rest();
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'tracing_mark_write', line, tsUs, cpu, pid, context, text };
}

/** Payload readers by event name. */
export const PAYLOADS: ReadonlyMap<string, PayloadReader> = new Map<string, PayloadReader>([
  ['map', readMap],
  ['unmap', readUnmap],
  ['attach_device_to_domain', attach('attach_device_to_domain')],
  ['detach_device_from_domain', attach('detach_device_from_domain')],
  ['add_device_to_group', group('add_device_to_group')],
  ['remove_device_from_group', group('remove_device_from_group')],
  ['io_page_fault', readIoPageFault],
  ...DMA_PAYLOADS,
  ['alloc_fast', readAllocFast],
  ['alloc_fast_ret', readAllocFastRet],
  ['alloc', readAlloc],
  ['alloc_ret', readAllocRet],
  ['free_fast', readFreeFast],
  ['free', readFree],
  ['free_slow', readFreeSlow],
  ['reserve', readReserve],
  ['init', readInit],
  ['fq_flush', readFqFlush],
  ['fq_timeout', readFqTimeout],
  ['cmdlist', readCmdlist],
  ['tlb_inv_context', readTlbInvContext],
  ['evtq_thread', readEvtqThread],
  ['tracing_mark_write', readMark],
]);
