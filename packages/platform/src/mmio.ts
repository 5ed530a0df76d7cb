import { hex, IommuError } from '@iommukit/bits';

/**
 * A register frame as a driver uses it; offsets in bytes from the frame's base. 64-bit accesses carry two lanes.
 * @example regs.write32(0x98, prod);
 */
export interface MmioFrame {
  /** The high lane of the last `read64`. */
  readonly hi: number;
  /** Reads a 32-bit register, unsigned. */
  read32(offset: number): number;
  /** Writes a 32-bit register; the value is taken modulo 2^32. */
  write32(offset: number, value: number): void;
  /** Reads a 64-bit register: returns the low lane and leaves the high one in `hi`. */
  read64(offset: number): number;
  /** Writes a 64-bit register. */
  write64(offset: number, lo: number, hi: number): void;
}

interface Window {
  readonly base: number;
  readonly end: number;
  readonly frame: MmioFrame;
}

/**
 * Decodes physical addresses, bytes, to register frames; two frames at one address, or none, throw {@link MmioError}.
 * @example const bus = new MmioBus(); bus.attach(0x0905_0000, 0x2_0000, smmu.registers); bus.frameAt(0x0905_0000);
 */
export class MmioBus {
  readonly #windows: Window[] = [];

  /** Makes a frame answer at [base, base + size); throws {@link MmioError} when the window overlaps another. */
  attach(base: number, size: number, frame: MmioFrame): void {
    const end = base + size;
    for (const other of this.#windows)
      if (base < other.end && other.base < end) throw new MmioError({ pa: base });
    this.#windows.push({ base, end, frame });
  }

  /** The frame that answers at `pa`, seen from `pa` on; throws {@link MmioError} when none does. */
  frameAt(pa: number): MmioFrame {
    const window = this.#windows.find(({ base, end }) => pa >= base && pa < end);
    if (window === undefined) throw new MmioError({ pa });
    const { frame, base } = window;
    if (pa === base) return frame;
    const skip = pa - base;
    return {
      get hi() {
        return frame.hi;
      },
      read32: (offset) => frame.read32(offset + skip),
      write32: (offset, value) => frame.write32(offset + skip, value),
      read64: (offset) => frame.read64(offset + skip),
      write64: (offset, lo, hi) => frame.write64(offset + skip, lo, hi),
    };
  }
}

/**
 * No register frame answers at an address, or two would; code `MMIO_DECODE`.
 * @example try { bus.frameAt(0); } catch (e) { (e as MmioError).operands.pa; }
 */
export class MmioError extends IommuError<{ pa: number }> {
  override readonly name = 'MmioError';
  constructor(operands: { pa: number }) {
    super(
      'MMIO_DECODE',
      operands,
      `no single register frame answers at ${hex(operands.pa)}`,
      'Attach one frame there',
    );
  }
}
