import type { DebugEntry } from './debug-entries.ts';
import {
  attrBits,
  type DmaRule,
  digits,
  dirName,
  type EntryType,
  sameAttrs,
} from './debug-rules.ts';
import type { DmaDevice } from './dma-device.ts';
import type { DmaDebugDialect } from './dma-profile.ts';
import type { SgElement } from './scatter-list.ts';

/** Takes one finding: its rule, and the kernel's text without driver and device. */
export type Say = (rule: DmaRule, what: string) => void;

/** The `[device address=...]` of a message. */
export function at({ dmaAddr }: DebugEntry): string {
  return `[device address=0x${digits(dmaAddr)}]`;
}

/** The same with the size. */
export function where(ref: DebugEntry): string {
  return `${at(ref)} [size=${ref.size} bytes]`;
}

/** What a type is called in this kernel. */
export function typeName(type: EntryType, dialect: DmaDebugDialect): string {
  return type === 'sg' ? dialect.list : type;
}

/** Everything in which an unmap differs from its map (`check_unmap`). */
export function compareUnmap(
  ref: DebugEntry,
  entry: DebugEntry,
  dialect: DmaDebugDialect,
  say: Say,
): void {
  if (ref.size !== entry.size)
    say(
      'free-size',
      `device driver frees DMA memory with different size ${at(ref)} [map size=${entry.size} bytes] [unmap size=${ref.size} bytes]`,
    );
  compareKind(ref, entry, dialect, say);
  if (ref.dir !== entry.dir)
    say(
      'free-direction',
      `device driver frees DMA memory with different direction ${where(ref)} [mapped with ${dirName(entry.dir)}] [unmapped with ${dirName(ref.dir)}]`,
    );
  if (entry.check === 'missing')
    say(
      'map-error-unchecked',
      `device driver failed to check map error${where(ref)} [mapped as ${typeName(entry.type, dialect)}]`,
    );
  if (dialect.attributes === 'compared' && !sameAttrs(ref.attrs, entry.attrs)) {
    const [mapped, unmapped] = [entry.attrs, ref.attrs].map((a) => attrBits(a).toString(16));
    say(
      'free-attributes',
      `device driver frees DMA memory with different attributes ${where(ref)} [mapped with 0x${mapped}] [unmapped with 0x${unmapped}]`,
    );
  }
}

function compareKind(ref: DebugEntry, entry: DebugEntry, dialect: DmaDebugDialect, say: Say): void {
  const isMemory = entry.type === 'coherent' || entry.type === 'noncoherent';
  if (ref.type !== entry.type) {
    const [mapped, unmapped] = [entry.type, ref.type].map((type) => typeName(type, dialect));
    say(
      'free-function',
      `device driver frees DMA memory with wrong function ${where(ref)} [mapped as ${mapped}] [unmapped as ${unmapped}]`,
    );
  } else if (isMemory && ref.paddr !== entry.paddr) {
    const [held, freed] = [entry, ref].map(({ paddr }) => dialect.cpuAddress + digits(paddr));
    say(
      'free-cpu-address',
      `device driver frees DMA memory with different CPU address ${where(ref)} [cpu alloc address=${held}] [cpu free address=${freed}]`,
    );
  }
  if (ref.type === 'sg' && ref.listed !== entry.listed)
    say(
      'free-sg-count',
      `device driver frees DMA sg list with different entry count [map count=${entry.listed}] [unmap count=${ref.listed}]`,
    );
}

/** What is wrong with a sync of a part of a mapping (`check_sync`); nothing for one of both directions. */
export function compareSync(
  ref: DebugEntry,
  entry: DebugEntry,
  to: 'cpu' | 'device',
  say: Say,
): void {
  if (entry.dir === 'BIDIRECTIONAL') return;
  const how = `${at(ref)} [size=${entry.size} bytes] [mapped with ${dirName(entry.dir)}] [synced with ${dirName(ref.dir)}]`;
  if (ref.dir !== entry.dir)
    say('sync-direction', `device driver syncs DMA memory with different direction ${how}`);
  if (to === 'cpu' && entry.dir !== 'FROM_DEVICE' && ref.dir !== 'TO_DEVICE')
    say('sync-read-only', `device driver syncs device read-only DMA memory for cpu ${how}`);
  if (to === 'device' && entry.dir !== 'TO_DEVICE' && ref.dir !== 'FROM_DEVICE')
    say('sync-write-only', `device driver syncs device write-only DMA memory to device ${how}`);
  if (ref.type === 'sg' && ref.listed !== entry.listed)
    say(
      'sync-sg-count',
      `device driver syncs DMA sg list with different entry count [map count=${entry.listed}] [sync count=${ref.listed}]`,
    );
}

/** An element that is longer than the device takes, a segment that crosses its boundary (`check_sg_segment`). */
export function checkSegment(dev: DmaDevice, element: SgElement, say: Say): void {
  const { length, dmaAddress, dmaLength } = element;
  const { maxSegSize, segBoundary } = dev;
  if (length > maxSegSize)
    say(
      'sg-too-long',
      `mapping sg segment longer than device claims to support [len=${length}] [max=${maxSegSize}]`,
    );
  const last = dmaAddress + dmaLength - 1;
  if (Math.floor(dmaAddress / segBoundary) === Math.floor(last / segBoundary)) return;
  const mask = (BigInt(segBoundary) - 1n).toString(16).padStart(16, '0');
  say(
    'sg-boundary',
    `mapping sg segment across boundary [start=0x${digits(dmaAddress)}] [end=0x${digits(last)}] [boundary=0x${mask}]`,
  );
}
