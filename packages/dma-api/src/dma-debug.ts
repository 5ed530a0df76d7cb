import { CacheLineOverlaps, MAX_OVERLAP } from './cache-line-overlaps.ts';
import {
  checkSegment,
  compareSync,
  compareUnmap,
  type Say,
  typeName,
  where,
} from './debug-checks.ts';
import { DebugEntries, type DebugEntry } from './debug-entries.ts';
import {
  type DmaReport,
  type DmaRule,
  digits,
  dirName,
  type EntryType,
  type MemoryKind,
} from './debug-rules.ts';
import type { DmaDevice } from './dma-device.ts';
import { DmaError } from './dma-error.ts';
import type { DmaDebugDialect, DmaProfile } from './dma-profile.ts';
import type { DmaAttrs, DmaDirection } from './dma-prot.ts';
import { DMA_MAPPING_ERROR, type SgElement } from './scatter-list.ts';
import type { LiveMapping } from './streaming.ts';

/**
 * How a {@link DmaDebug} is made.
 * @example const options: DmaDebugOptions = { profile: DMA_PROFILES['7.3'], errors: 'all' };
 */
export interface DmaDebugOptions {
  /** Whose words: its `debug`. */
  readonly profile: DmaProfile;
  /** Reports that count as shown: this many (`num_errors`), or all of them (`all_errors`). Default 1. */
  readonly errors?: number | 'all';
  /** Only reports on this driver are shown (`driver_filter`). */
  readonly driver?: string;
  /** The driver of a device, or its bus when it has none (`dev_driver_string`); default `pci` or `platform`. */
  readonly driverOf?: (dev: DmaDevice) => string;
  /** Entries made at the start (`dma_debug_entries=`); default 65,536. */
  readonly entries?: number;
  /** Entries that there is memory for; default: no limit. One more, and debugging disables itself for good. */
  readonly maxEntries?: number;
  /** Asked for each page of a mapping; absent: everything is memory. */
  readonly memoryKind?: (paddr: number) => MemoryKind;
  /** Bytes of a cache line; default 64. */
  readonly cacheLine?: number;
  /** Small buffers are bounced, so that overlaps are no mistake (`CONFIG_DMA_BOUNCE_UNALIGNED_KMALLOC` with swiotlb; 7.2 on). */
  readonly kmallocBounces?: boolean;
  /** Reports that are kept, the first ones; default 1000. */
  readonly keep?: number;
  /** Called with every report. */
  readonly onReport?: (report: DmaReport) => void;
  /** Lines about debugging itself. */
  readonly print?: (text: string) => void;
}

/**
 * What a {@link DmaDebug} counts, by the names of the kernel's debugfs files.
 * @example debug.state().errorCount // 0
 */
export interface DmaDebugState {
  readonly disabled: boolean;
  readonly errorCount: number;
  /** Reports that will still be shown. */
  readonly numErrors: number;
  readonly numFreeEntries: number;
  readonly minFreeEntries: number;
  readonly nrTotalEntries: number;
  /** Live mappings. */
  readonly live: number;
}

const PAGE = 4096;
/** Entries of 128 bytes in a page: what the kernel adds at once. */
const GROWTH = 32;

/**
 * Remembers every live mapping and reports what drivers do wrong, as `CONFIG_DMA_API_DEBUG` does; what they do happens all the same.
 * Attach it as `debug` of a `DmaApi`; its `DmaApi` calls the methods that are named after the kernel's hooks.
 * Throws {@link DmaError} `DMA_PARAMETER` for counts that are no positive whole numbers.
 * @example const debug = new DmaDebug({ profile: DMA_PROFILES['7.3'], errors: 'all' }); debug.reports.map(({ rule }) => rule); // []
 */
export class DmaDebug {
  /** The first reports. */
  readonly reports: DmaReport[] = [];
  readonly #options: DmaDebugOptions;
  readonly #dialect: DmaDebugDialect;
  readonly #entries = new DebugEntries();
  readonly #lines: CacheLineOverlaps;
  readonly #counts = new Map<DmaRule, number>();
  readonly #prealloc: number;
  #disabled = false;
  #errors = 0;
  #left: number;
  #free: number;
  #minFree: number;
  #total: number;
  #overflowed = false;

  constructor(options: DmaDebugOptions) {
    const { entries = 65536, maxEntries, cacheLine = 64, errors = 1 } = options;
    if (errors !== 'all' && !(Number.isSafeInteger(errors) && errors >= 0))
      throw new DmaError(
        'DMA_PARAMETER',
        'dma-debug',
        `got errors = ${errors}`,
        "Pass 0 or more, or 'all'",
      );
    for (const [what, value] of Object.entries({ entries, maxEntries, cacheLine }))
      if (value !== undefined && !(Number.isSafeInteger(value) && value > 0))
        throw new DmaError(
          'DMA_PARAMETER',
          'dma-debug',
          `got ${what} = ${value}`,
          'Pass 1 or more',
        );
    this.#options = options;
    this.#dialect = options.profile.debug;
    this.#lines = new CacheLineOverlaps(cacheLine);
    this.#left = errors === 'all' ? 0 : errors;
    this.#prealloc = entries;
    const wanted = Math.ceil(entries / GROWTH) * GROWTH;
    const room = Math.floor((maxEntries ?? wanted) / GROWTH) * GROWTH;
    this.#total = Math.min(wanted, room);
    this.#free = this.#total;
    this.#minFree = this.#total;
    this.#disabled = this.#total === 0;
    const { print } = options;
    if (this.#disabled) print?.('DMA-API: debugging out of memory error - disabled');
    else if (this.#total >= entries) print?.(`DMA-API: preallocated ${this.#total} debug entries`);
    else print?.(`DMA-API: ${entries} debug entries requested but only ${this.#total} allocated`);
    if (!this.#disabled) print?.('DMA-API: debugging enabled by kernel config');
  }

  /** Counters and whether debugging still runs. */
  state(): DmaDebugState {
    return {
      disabled: this.#disabled,
      errorCount: this.#errors,
      numErrors: this.#left,
      numFreeEntries: this.#free,
      minFreeEntries: this.#minFree,
      nrTotalEntries: this.#total,
      live: this.#total - this.#free,
    };
  }

  /** How often a rule was broken. */
  countOf(rule: DmaRule): number {
    return this.#counts.get(rule) ?? 0;
  }

  /** Before a map by the kernel's address of a buffer (`debug_dma_map_single`). */
  mapSingle(dev: DmaDevice, paddr: number, size: number): void {
    if (this.#disabled) return;
    const kind = this.#options.memoryKind?.(paddr);
    const where = `[addr=${digits(paddr)}] [len=${size}]`;
    if (kind === 'invalid')
      this.#report('map-invalid-area', dev, `device driver maps memory from invalid area ${where}`);
    if (kind === 'vmalloc')
      this.#report('map-vmalloc', dev, `device driver maps memory from vmalloc area ${where}`);
  }

  /** After a map (`debug_dma_map_phys`, `debug_dma_map_page`, `debug_dma_map_resource`). */
  mapPhys(dev: DmaDevice, mapping: LiveMapping, attrs?: DmaAttrs): void {
    if (this.#disabled || mapping.dmaAddr === DMA_MAPPING_ERROR) return;
    if (!this.#take()) return;
    const type = this.#singleType(attrs);
    if (attrs?.mmio !== true) this.#checkMemory(dev, mapping.paddr, mapping.size);
    else if (this.#dialect.resourceRam === 'reported') this.#checkResource(dev, mapping.paddr);
    this.#add(this.#ref(dev, type, mapping, { attrs, check: 'missing' }));
  }

  /** The driver asked whether a map failed (`debug_dma_mapping_error`). */
  mappingError(dev: DmaDevice, dmaAddr: number): void {
    if (this.#disabled) return;
    const unchecked = this.#entries.at(dev, dmaAddr).find(({ check }) => check === 'missing');
    if (unchecked !== undefined) unchecked.check = 'done';
  }

  /** After an unmap (`debug_dma_unmap_phys`, `debug_dma_unmap_page`). */
  unmapPhys(dev: DmaDevice, mapping: Omit<LiveMapping, 'paddr'>, attrs?: DmaAttrs): void {
    if (this.#disabled) return;
    const type = this.#singleType(attrs);
    this.#checkUnmap(this.#ref(dev, type, { ...mapping, paddr: -1 }, { attrs }));
  }

  /** After a list was mapped into `mapped` segments (`debug_dma_map_sg`). */
  mapSg(
    dev: DmaDevice,
    sg: readonly SgElement[],
    mapped: number,
    dir: DmaDirection,
    attrs?: DmaAttrs,
  ): void {
    if (this.#disabled) return;
    for (const { paddr, length } of sg) this.#checkMemory(dev, paddr, length);
    for (const element of sg.slice(0, mapped)) {
      if (!this.#take()) return;
      checkSegment(dev, element, this.#sayOf(dev));
      const counts = { listed: sg.length, mapped, attrs };
      this.#add(this.#ref(dev, 'sg', segment(element, dir), counts));
    }
  }

  /** Before a list is unmapped (`debug_dma_unmap_sg`). */
  unmapSg(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection, attrs?: DmaAttrs): void {
    if (this.#disabled) return;
    const mapped = this.#segmentsOf(dev, sg, dir);
    for (const element of mapped === 0 ? sg : sg.slice(0, mapped))
      this.#checkUnmap(this.#ref(dev, 'sg', segment(element, dir), { listed: sg.length, attrs }));
  }

  /** After a sync of a part of a mapping (`debug_dma_sync_single_for_cpu`, `_for_device`). */
  syncSingle(
    dev: DmaDevice,
    dmaAddr: number,
    size: number,
    dir: DmaDirection,
    to: 'cpu' | 'device',
  ): void {
    if (this.#disabled) return;
    this.#checkSync(this.#ref(dev, 'single', { dmaAddr, paddr: -1, size, dir }), to);
  }

  /** After a sync of a list (`debug_dma_sync_sg_for_cpu`, `_for_device`); one that is not known at all goes unnoticed. */
  syncSg(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection, to: 'cpu' | 'device'): void {
    if (this.#disabled) return;
    for (const element of sg.slice(0, this.#segmentsOf(dev, sg, dir)))
      this.#checkSync(this.#ref(dev, 'sg', segment(element, dir), { listed: sg.length }), to);
  }

  /** After an allocation (`debug_dma_alloc_coherent`, `debug_dma_alloc_pages`); `paddr` is the first page's. */
  alloc(
    dev: DmaDevice,
    memory: LiveMapping,
    type: 'coherent' | 'noncoherent',
    attrs?: DmaAttrs,
  ): void {
    if (this.#disabled || !this.#tracks(type)) return;
    if (this.#take()) this.#add(this.#ref(dev, type, memory, { attrs }));
  }

  /** Before memory is freed (`debug_dma_free_coherent`, `debug_dma_free_pages`). */
  free(
    dev: DmaDevice,
    memory: LiveMapping,
    type: 'coherent' | 'noncoherent',
    attrs?: DmaAttrs,
  ): void {
    if (this.#disabled || !this.#tracks(type)) return;
    this.#checkUnmap(this.#ref(dev, type, memory, { attrs }));
  }

  /** The driver let go of the device (`dma_debug_device_change`). */
  released(dev: DmaDevice): void {
    if (this.#disabled) return;
    const leaked = this.#entries.of(dev);
    const entry = leaked.at(-1);
    if (entry === undefined) return;
    this.#report(
      'leak',
      dev,
      `device driver has pending DMA allocations while released from device [count=${leaked.length}]\n` +
        `One of leaked entries details: ${where(entry)} ` +
        `[mapped with ${dirName(entry.dir)}] [mapped as ${typeName(entry.type, this.#dialect)}]`,
    );
  }

  #tracks(type: EntryType): boolean {
    return type === 'coherent' || this.#dialect.pages === 'tracked';
  }

  #singleType(attrs: DmaAttrs | undefined): EntryType {
    if (this.#dialect.mapping === 'phy') return 'phy';
    return attrs?.mmio === true ? 'resource' : 'single';
  }

  #ref(
    device: DmaDevice,
    type: EntryType,
    { dmaAddr, paddr, size, dir }: LiveMapping,
    more: Partial<Pick<DebugEntry, 'listed' | 'mapped' | 'attrs' | 'check'>> = {},
  ): DebugEntry {
    const { listed = 0, mapped = 0, attrs, check = 'not-applicable' } = more;
    return { device, type, dmaAddr, paddr, size, dir, listed, mapped, attrs, check };
  }

  #segmentsOf(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection): number {
    const [first] = sg;
    if (first === undefined) return 0;
    const ref = this.#ref(dev, 'sg', segment(first, dir), { listed: sg.length });
    return this.#entries.exact(ref)?.mapped ?? 0;
  }

  /** Room for one entry; without memory for more, debugging ends for good (`dma_entry_alloc`). */
  #take(): boolean {
    if (this.#free === 0) {
      const { maxEntries = Number.POSITIVE_INFINITY, print } = this.#options;
      if (this.#total + GROWTH > maxEntries) {
        this.#disabled = true;
        print?.('DMA-API: debugging out of memory - disabling');
        return false;
      }
      this.#total += GROWTH;
      this.#free += GROWTH;
      if (this.#total % this.#prealloc < GROWTH) {
        const times = Math.floor(this.#total / this.#prealloc);
        print?.(`DMA-API: dma_debug_entry pool grown to ${this.#total} (${times}00%)`);
      }
    }
    this.#free--;
    this.#minFree = Math.min(this.#minFree, this.#free);
    return true;
  }

  #add(entry: DebugEntry): void {
    this.#entries.add(entry);
    const overlap = this.#lines.insert(entry);
    if (overlap === null) return;
    const lenient = this.#dialect.overlaps === 'may-be-declared';
    const declared = lenient && entry.attrs?.requireCoherent === true;
    if (overlap.uncounted && !declared && !this.#overflowed) {
      this.#overflowed = true;
      const line = `0x${digits(this.#lines.lineOf(entry))}`;
      const text = `DMA-API: exceeded ${MAX_OVERLAP} overlapping mappings of cacheline ${line}`;
      this.#keep({ rule: 'overlap-count', device: entry.device.name, text, shown: true });
    }
    if (entry.attrs?.skipCpuSync === true) return;
    if (declared && overlap.first.attrs?.requireCoherent === true) return;
    if (lenient && this.#options.kmallocBounces === true) return;
    this.#report(
      'overlap',
      entry.device,
      "cacheline tracking EEXIST, overlapping mappings aren't supported",
    );
  }

  #checkMemory(dev: DmaDevice, paddr: number, size: number): void {
    const { memoryKind } = this.#options;
    if (memoryKind === undefined) return;
    const addr = digits(paddr);
    if (memoryKind(paddr) === 'stack')
      this.#report('map-stack', dev, `device driver maps memory from stack [addr=${addr}]`);
    if (memoryKind(paddr) === 'highmem') return;
    for (let page = paddr - (paddr % PAGE); page < paddr + size; page += PAGE) {
      if (memoryKind(Math.max(page, paddr)) !== 'kernel-text') continue;
      this.#report(
        'map-kernel-text',
        dev,
        `device driver maps memory from kernel text or rodata [addr=${addr}] [len=${size}]`,
      );
      return;
    }
  }

  #checkResource(dev: DmaDevice, paddr: number): void {
    const kind = this.#options.memoryKind?.(paddr) ?? 'device';
    if (kind === 'device' || kind === 'invalid') return;
    const addr = `0x${digits(paddr)}`;
    this.#report('map-resource-ram', dev, `dma_map_resource called for RAM address ${addr}`);
  }

  /** Reports everything that differs; the entry is gone afterwards. */
  #checkUnmap(ref: DebugEntry): void {
    const say = this.#sayOf(ref.device);
    if (ref.dmaAddr === DMA_MAPPING_ERROR) {
      say('free-invalid-address', 'device driver tries to free an invalid DMA memory address');
      return;
    }
    const entry = this.#entries.exact(ref);
    if (entry === null) {
      say(
        'free-unallocated',
        `device driver tries to free DMA memory it has not allocated ${where(ref)}`,
      );
      return;
    }
    compareUnmap(ref, entry, this.#dialect, say);
    this.#entries.remove(entry);
    this.#lines.remove(entry);
    this.#free++;
  }

  #checkSync(ref: DebugEntry, to: 'cpu' | 'device'): void {
    const say = this.#sayOf(ref.device);
    const entry = this.#entries.containing(ref);
    if (entry !== null) compareSync(ref, entry, to, say);
    else
      say(
        'sync-unallocated',
        `device driver tries to sync DMA memory it has not allocated ${where(ref)}`,
      );
  }

  #sayOf(dev: DmaDevice): Say {
    return (rule, what) => this.#report(rule, dev, what);
  }

  /** Counts, and decides whether the kernel would print it (`err_printk`). */
  #report(rule: DmaRule, dev: DmaDevice, what: string): void {
    this.#errors++;
    const { errors, driver, driverOf } = this.#options;
    const own = driverOf?.(dev) ?? (dev.device.info.isPci === true ? 'pci' : 'platform');
    const shown = (driver === undefined || driver === own) && (errors === 'all' || this.#left > 0);
    if (this.#left > 0) this.#left--;
    this.#keep({ rule, device: dev.name, text: `DMA-API: ${own} ${dev.name}: ${what}`, shown });
  }

  #keep(report: DmaReport): void {
    this.#counts.set(report.rule, this.countOf(report.rule) + 1);
    if (this.reports.length < (this.#options.keep ?? 1000)) this.reports.push(report);
    this.#options.onReport?.(report);
  }
}

function segment(element: SgElement, dir: DmaDirection): LiveMapping {
  const { paddr, dmaAddress, dmaLength } = element;
  return { dmaAddr: dmaAddress, paddr, size: dmaLength, dir };
}
