import type { U64 } from '@iommukit/bits';

/**
 * `dma_addr` of a failed mapping (`DMA_MAPPING_ERROR`, all 64 bits set) as it reads back in {@link DmaMapEvent.dmaAddr}:
 * 2^64, since no double holds 2^64 - 1.
 * @example if (event.dmaAddr === DMA_MAPPING_ERROR) return;
 */
export const DMA_MAPPING_ERROR: number = 2 ** 64;

/**
 * Direction of a DMA mapping, the kernel's `enum dma_data_direction` without its prefix.
 * @example const dir: DmaDirection = 'FROM_DEVICE';
 */
export type DmaDirection = 'BIDIRECTIONAL' | 'TO_DEVICE' | 'FROM_DEVICE' | 'NONE';

/**
 * What every event carries. `line` is 1-based; `tsUs` is the trace clock in whole microseconds; `context` keys the thread of
 * execution: the pid of a task, `-(1 + 2 * cpu)` for a hard interrupt, `-(2 + 2 * cpu)` for a soft one (see {@link contextName}).
 * @example const at = (e: EventHeader) => e.tsUs / 1e6;
 */
export interface EventHeader {
  readonly line: number;
  readonly tsUs: number;
  readonly cpu: number;
  readonly pid: number;
  readonly context: number;
}

/**
 * `iommu:map`: one physically contiguous piece; bytes, all multiples of the granule.
 * @example const end = (e: MapEvent) => e.iova + e.size;
 */
export interface MapEvent extends EventHeader {
  readonly event: 'map';
  readonly iova: number;
  readonly paddr: number;
  readonly size: number;
}

/**
 * `iommu:unmap`: what was asked for and what was unmapped, bytes.
 * @example const partial = (e: UnmapEvent) => e.unmappedSize < e.size;
 */
export interface UnmapEvent extends EventHeader {
  readonly event: 'unmap';
  readonly iova: number;
  readonly size: number;
  readonly unmappedSize: number;
}

/**
 * `iommu:attach_device_to_domain`, and `detach_device_from_domain` of older kernels.
 * @example const who = (e: AttachEvent) => e.device;
 */
export interface AttachEvent extends EventHeader {
  readonly event: 'attach_device_to_domain' | 'detach_device_from_domain';
  readonly device: string;
}

/**
 * `iommu:add_device_to_group` and `iommu:remove_device_from_group`.
 * @example const group = (e: GroupEvent) => e.groupId;
 */
export interface GroupEvent extends EventHeader {
  readonly event: 'add_device_to_group' | 'remove_device_from_group';
  readonly groupId: number;
  readonly device: string;
}

/**
 * `iommu:io_page_fault`; the SMMUv3 driver never emits it.
 * @example const page = (e: IoPageFaultEvent) => e.iova.lo;
 */
export interface IoPageFaultEvent extends EventHeader {
  readonly event: 'io_page_fault';
  readonly driver: string;
  readonly device: string;
  readonly iova: U64;
  readonly flags: number;
}

/**
 * `dma:dma_map_page`, `dma_map_resource` (to 6.17), `dma_map_phys` (since 6.18). `dmaAddr` and `physAddr` keep their page offset.
 * @example const failed = (e: DmaMapEvent) => e.dmaAddr === DMA_MAPPING_ERROR;
 */
export interface DmaMapEvent extends EventHeader {
  readonly event: 'dma_map_page' | 'dma_map_phys' | 'dma_map_resource';
  readonly device: string;
  readonly dir: DmaDirection;
  readonly dmaAddr: number;
  readonly size: number;
  readonly physAddr: number;
  readonly attrs: string;
}

/**
 * `dma:dma_unmap_page`, `dma_unmap_resource`, `dma_unmap_phys`.
 * @example const bytes = (e: DmaUnmapEvent) => e.size;
 */
export interface DmaUnmapEvent extends EventHeader {
  readonly event: 'dma_unmap_page' | 'dma_unmap_phys' | 'dma_unmap_resource';
  readonly device: string;
  readonly dir: DmaDirection;
  readonly dmaAddr: number;
  readonly size: number;
  readonly attrs: string;
}

/**
 * `dma:dma_map_sg`. `nents` and `ents` are the full counts; the arrays hold at most 128 of them (`truncated`).
 * @example const runs = (e: DmaMapSgEvent) => e.dmaAddrs.length;
 */
export interface DmaMapSgEvent extends EventHeader {
  readonly event: 'dma_map_sg';
  readonly device: string;
  readonly dir: DmaDirection;
  readonly nents: number;
  readonly ents: number;
  readonly truncated: boolean;
  readonly dmaAddrs: readonly number[];
  readonly sizes: readonly number[];
  readonly physAddrs: readonly number[];
  readonly attrs: string;
}

/**
 * `dma:dma_map_sg_err`: the kernel prints physical addresses under the name `dma_addrs`; `err` is a negative errno.
 * @example const noMemory = (e: DmaMapSgErrEvent) => e.err === -12;
 */
export interface DmaMapSgErrEvent extends EventHeader {
  readonly event: 'dma_map_sg_err';
  readonly device: string;
  readonly dir: DmaDirection;
  readonly physAddrs: readonly number[];
  readonly err: number;
  readonly attrs: string;
}

/**
 * `dma:dma_unmap_sg`: no DMA address; match `physAddrs` with the live `dma_map_sg`.
 * @example const first = (e: DmaUnmapSgEvent) => e.physAddrs[0];
 */
export interface DmaUnmapSgEvent extends EventHeader {
  readonly event: 'dma_unmap_sg';
  readonly device: string;
  readonly dir: DmaDirection;
  readonly physAddrs: readonly number[];
  readonly attrs: string;
}

/**
 * `dma:dma_alloc` and its relatives, bytes. `dir` is `NONE` where the kernel printed none; some versions leave it unset, so
 * it carries no meaning. `physAddrs` is empty except for `dma_alloc_sgt`.
 * @example const oneMiB = (e: DmaAllocEvent) => e.size === 0x10_0000;
 */
export interface DmaAllocEvent extends EventHeader {
  readonly event: 'dma_alloc' | 'dma_alloc_pages' | 'dma_alloc_sgt' | 'dma_alloc_sgt_err';
  readonly device: string;
  readonly dir: DmaDirection;
  readonly dmaAddr: number;
  readonly size: number;
  readonly physAddrs: readonly number[];
  readonly attrs: string;
}

/**
 * `dma:dma_free` and its relatives; the fields of {@link DmaAllocEvent}.
 * @example const bytes = (e: DmaFreeEvent) => e.size;
 */
export interface DmaFreeEvent extends EventHeader {
  readonly event: 'dma_free' | 'dma_free_pages' | 'dma_free_sgt';
  readonly device: string;
  readonly dir: DmaDirection;
  readonly dmaAddr: number;
  readonly size: number;
  readonly physAddrs: readonly number[];
  readonly attrs: string;
}

/**
 * `dma:dma_sync_*`: one address for `single`, several for `sg`.
 * @example const total = (e: DmaSyncEvent) => e.sizes.reduce((a, b) => a + b, 0);
 */
export interface DmaSyncEvent extends EventHeader {
  readonly event:
    | 'dma_sync_single_for_cpu'
    | 'dma_sync_single_for_device'
    | 'dma_sync_sg_for_cpu'
    | 'dma_sync_sg_for_device';
  readonly device: string;
  readonly dir: DmaDirection;
  readonly dmaAddrs: readonly number[];
  readonly sizes: readonly number[];
}

/**
 * Kprobe at `alloc_iova_fast`: `size` in pages, not rounded yet; `limitPfn` saturates at 2^52 - 1; `flush` is
 * the kernel's `flush_rcache` argument.
 * @example const first = (e: AllocFastEvent) => !e.flush;
 */
export interface AllocFastEvent extends EventHeader {
  readonly event: 'alloc_fast';
  readonly iovad: string;
  readonly size: number;
  readonly limitPfn: number;
  readonly flush: boolean;
}

/**
 * Return of `alloc_iova_fast`; pfn 0 is a failure.
 * @example const failed = (e: AllocFastRetEvent) => e.pfn === 0;
 */
export interface AllocFastRetEvent extends EventHeader {
  readonly event: 'alloc_fast_ret';
  readonly pfn: number;
}

/**
 * Kprobe at `alloc_iova`, after a cache miss: `size` in pages, rounded; `limitPfn` saturates at 2^52 - 1.
 * @example const pages = (e: AllocEvent) => e.size;
 */
export interface AllocEvent extends EventHeader {
  readonly event: 'alloc';
  readonly iovad: string;
  readonly size: number;
  readonly limitPfn: number;
  readonly aligned: boolean;
}

/**
 * Return of `alloc_iova`; `node` names the tree node. The pfns are -1 when the probe could not read them (a null node).
 * @example const pages = (e: AllocRetEvent) => e.pfnHi - e.pfnLo + 1;
 */
export interface AllocRetEvent extends EventHeader {
  readonly event: 'alloc_ret';
  readonly node: string;
  readonly pfnHi: number;
  readonly pfnLo: number;
}

/**
 * Kprobe at `free_iova_fast`; `size` in pages.
 * @example const end = (e: FreeFastEvent) => e.pfn + e.size;
 */
export interface FreeFastEvent extends EventHeader {
  readonly event: 'free_fast';
  readonly iovad: string;
  readonly pfn: number;
  readonly size: number;
}

/**
 * Kprobe at `free_iova`: the range goes to the tree.
 * @example const pfn = (e: FreeEvent) => e.pfn;
 */
export interface FreeEvent extends EventHeader {
  readonly event: 'free';
  readonly iovad: string;
  readonly pfn: number;
}

/**
 * Kprobe at `__free_iova` (`free_slow`) and at `reserve_iova` (`reserve`); both pfns inclusive.
 * @example const pages = (e: IovaRangeEvent) => e.pfnHi - e.pfnLo + 1;
 */
export interface IovaRangeEvent extends EventHeader {
  readonly event: 'free_slow' | 'reserve';
  readonly iovad: string;
  readonly pfnHi: number;
  readonly pfnLo: number;
}

/**
 * Kprobe at `init_iova_domain`; `granule` in bytes.
 * @example const first = (e: InitEvent) => e.startPfn * e.granule;
 */
export interface InitEvent extends EventHeader {
  readonly event: 'init';
  readonly iovad: string;
  readonly granule: number;
  readonly startPfn: number;
}

/**
 * Kprobe at `fq_flush_iotlb`; `cookie` names the domain's DMA cookie.
 * @example const key = (e: FqFlushEvent) => e.cookie;
 */
export interface FqFlushEvent extends EventHeader {
  readonly event: 'fq_flush';
  readonly cookie: string;
}

/**
 * Kprobe at `fq_flush_timeout`; belongs to the next `fq_flush` of its context.
 * @example const key = (e: FqTimeoutEvent) => e.timer;
 */
export interface FqTimeoutEvent extends EventHeader {
  readonly event: 'fq_timeout';
  readonly timer: string;
}

/**
 * Kprobe at `arm_smmu_cmdq_issue_cmdlist`: `n` commands without the SYNC that `sync` adds; the first command's two
 * doublewords (the kprobe's `c0d0`, `c0d1`).
 * @example const opcode = (e: CmdlistEvent) => e.c0.lo % 256;
 */
export interface CmdlistEvent extends EventHeader {
  readonly event: 'cmdlist';
  readonly n: number;
  readonly sync: boolean;
  readonly c0: U64;
  readonly c1: U64;
}

/**
 * Kprobe at `arm_smmu_tlb_inv_context`; `domain` names the driver's domain.
 * @example const key = (e: TlbInvContextEvent) => e.domain;
 */
export interface TlbInvContextEvent extends EventHeader {
  readonly event: 'tlb_inv_context';
  readonly domain: string;
}

/**
 * Kprobe at `arm_smmu_evtq_thread`.
 * @example const at = (e: EvtqThreadEvent) => e.tsUs;
 */
export interface EvtqThreadEvent extends EventHeader {
  readonly event: 'evtq_thread';
}

/**
 * A line written to `trace_marker` (`mark` in the guest digest).
 * @example const idle = (e: MarkEvent) => e.text === 'PHASE:dump-idle';
 */
export interface MarkEvent extends EventHeader {
  readonly event: 'tracing_mark_write';
  readonly text: string;
}

/**
 * One line of a trace, told apart by `event` (the name that stands in the trace).
 * @example if (e.event === 'map') e.iova;
 */
export type TraceEvent =
  | MapEvent
  | UnmapEvent
  | AttachEvent
  | GroupEvent
  | IoPageFaultEvent
  | DmaMapEvent
  | DmaUnmapEvent
  | DmaMapSgEvent
  | DmaMapSgErrEvent
  | DmaUnmapSgEvent
  | DmaAllocEvent
  | DmaFreeEvent
  | DmaSyncEvent
  | AllocFastEvent
  | AllocFastRetEvent
  | AllocEvent
  | AllocRetEvent
  | FreeFastEvent
  | FreeEvent
  | IovaRangeEvent
  | InitEvent
  | FqFlushEvent
  | FqTimeoutEvent
  | CmdlistEvent
  | TlbInvContextEvent
  | EvtqThreadEvent
  | MarkEvent;

/**
 * Text of an {@link EventHeader.context}: `h0` (hard interrupt on CPU 0), `s1` (soft interrupt on CPU 1), or a pid.
 * @example contextName(-4) // 's1'
 */
export function contextName(context: number): string {
  if (context >= 0) return String(context);
  const hard = context % 2 !== 0;
  return hard ? `h${String((-context - 1) / 2)}` : `s${String((-context - 2) / 2)}`;
}
