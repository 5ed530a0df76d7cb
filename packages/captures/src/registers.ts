import { type JsonRecord, RecordError, readJson } from './json-record.ts';

/**
 * SMMU registers of a dump: 32-bit words by byte offset from `base`.
 * @example const enabled = (r: RegisterDump) => (r.registers.get(0x20) ?? 0) % 2 === 1;
 */
export interface RegisterDump {
  readonly base: number;
  readonly tag: string;
  readonly qemuTraceByteOffset: number;
  readonly registers: ReadonlyMap<number, number>;
}

/** The `regs` object of a register dump or of a snapshot. */
export function registersOf(record: JsonRecord): Map<number, number> {
  const registers = new Map<number, number>();
  for (const key of record.keys()) {
    const offset = Number(key);
    const { lo, hi } = record.word(key);
    if (!key.startsWith('0x') || !Number.isInteger(offset) || offset % 4 !== 0)
      throw new RecordError('register offsets to be multiples of 4 in hexadecimal');
    if (hi !== 0) throw new RecordError(`regs.${key} to be a 32-bit value`);
    registers.set(offset, lo);
  }
  return registers;
}

/**
 * Reads `DUMP-*.regs.json`; throws {@link InputError} for any shortcoming.
 * @example readRegs('DUMP-IDLE.regs.json').registers.get(0x20) // CR0
 */
export function readRegs(path: string): RegisterDump {
  return readJson(path, (r) => ({
    base: r.address('base'),
    tag: r.text('tag'),
    qemuTraceByteOffset: r.count('qemuTraceByteOffset'),
    registers: registersOf(r.record('regs')),
  }));
}
