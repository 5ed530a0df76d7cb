import { eachLine } from './line-scanner.ts';

/**
 * A PCIe to PCI bridge: devices behind it share the StreamID `secondaryBus << 8`. `bdf` as `0000:00:08.0`.
 * @example const sid = (b: PciBridge) => b.secondaryBus * 256;
 */
export interface PciBridge {
  readonly bdf: string;
  readonly secondaryBus: number;
}

/**
 * What a replay needs from the kernel log; `policy` and `release` are `undefined` when their line is absent.
 * @example const lazy = (d: Dmesg) => d.policy === 'lazy';
 */
export interface Dmesg {
  readonly release: string | undefined;
  readonly policy: 'strict' | 'lazy' | undefined;
  readonly bridges: readonly PciBridge[];
}

const BRIDGE =
  /pci ([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]): .*type 01 class 0x060400 PCIe to PCI\/PCI-X bridge/;
const BUS =
  /pci ([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]): PCI bridge to \[bus ([0-9a-f]{2})(?:-[0-9a-f]{2})?\]/;

/**
 * Reads the lines of a kernel log that a replay needs; all others are passed over.
 * @example parseDmesg(readText('guest/dmesg.txt.gz')).policy // 'strict'
 */
export function parseDmesg(text: string): Dmesg {
  let release: string | undefined;
  let policy: Dmesg['policy'];
  const bridges: string[] = [];
  const buses = new Map<string, number>();
  eachLine(text, (start, end) => {
    const line = text.slice(start, end);
    release ??= /Linux version (\S+)/.exec(line)?.[1];
    const mode = /DMA domain TLB invalidation policy: (strict|lazy) mode/.exec(line)?.[1];
    if (mode === 'strict' || mode === 'lazy') policy = mode;
    const bridge = BRIDGE.exec(line)?.[1];
    if (bridge !== undefined) bridges.push(bridge);
    // Printed twice: with bus 00 before the kernel has numbered the buses, then with the final number.
    const bus = BUS.exec(line);
    if (bus?.[1] !== undefined) buses.set(bus[1], Number.parseInt(bus[2] ?? '0', 16));
  });
  return {
    release,
    policy,
    bridges: bridges.map((bdf) => ({ bdf, secondaryBus: buses.get(bdf) ?? 0 })),
  };
}
