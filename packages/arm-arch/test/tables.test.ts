import { describe, expect, it } from 'vitest';
import {
  COMMAND_BYTES,
  COMMANDS,
  EVENT_BYTES,
  EVENT_CODE,
  EVENTS,
  OPCODE,
  PAGE_REQUEST,
  PAGE_REQUEST_BYTES,
  REGISTER,
  REGISTER_FRAME_BYTES,
  REGISTER_OFFSET,
  REGISTERS,
} from '../src/index.ts';

describe('register frame', () => {
  it('has the offsets of Linux', () => {
    // ARM_SMMU_* of arm-smmu-v3.h; the event and page request indexes are in page 1.
    expect(REGISTER_OFFSET).toMatchObject({
      IDR0: 0x0,
      IDR1: 0x4,
      IDR3: 0xc,
      IDR5: 0x14,
      IIDR: 0x18,
      AIDR: 0x1c,
      CR0: 0x20,
      CR0ACK: 0x24,
      CR1: 0x28,
      CR2: 0x2c,
      GBPA: 0x44,
      IRQ_CTRL: 0x50,
      IRQ_CTRLACK: 0x54,
      GERROR: 0x60,
      GERRORN: 0x64,
      GERROR_IRQ_CFG0: 0x68,
      GERROR_IRQ_CFG1: 0x70,
      GERROR_IRQ_CFG2: 0x74,
      STRTAB_BASE: 0x80,
      STRTAB_BASE_CFG: 0x88,
      CMDQ_BASE: 0x90,
      CMDQ_PROD: 0x98,
      CMDQ_CONS: 0x9c,
      EVENTQ_BASE: 0xa0,
      EVENTQ_PROD: 0x100a8,
      EVENTQ_CONS: 0x100ac,
      EVENTQ_IRQ_CFG0: 0xb0,
      EVENTQ_IRQ_CFG1: 0xb8,
      EVENTQ_IRQ_CFG2: 0xbc,
      PRIQ_BASE: 0xc0,
      PRIQ_PROD: 0x100c8,
      PRIQ_CONS: 0x100cc,
      PRIQ_IRQ_CFG0: 0xd0,
      PRIQ_IRQ_CFG1: 0xd8,
      PRIQ_IRQ_CFG2: 0xdc,
    });
  });

  it('has one layout a register, none overlapping', () => {
    expect(Object.keys(REGISTER)).toEqual(Object.keys(REGISTER_OFFSET));
    let end = 0;
    for (const one of REGISTERS) {
      const offset = one.info.offset as number;
      const bytes = (one.info.width as number) / 8;
      expect(offset).toBe(REGISTER_OFFSET[one.name as keyof typeof REGISTER_OFFSET]);
      expect(offset % bytes).toBe(0);
      expect(offset).toBeGreaterThanOrEqual(end);
      end = offset + bytes;
    }
    expect(end).toBeLessThanOrEqual(REGISTER_FRAME_BYTES);
  });
});

describe('queues', () => {
  it('has one layout a command, with the opcode in its own table', () => {
    expect(COMMANDS.size).toBe(Object.keys(OPCODE).length);
    for (const [name, opcode] of Object.entries(OPCODE)) {
      const one = COMMANDS.get(opcode);
      expect(one?.name).toBe(`CMD_${name}`);
      expect(one?.lanes).toBe(COMMAND_BYTES / 4);
      expect(one?.rows['Opcode']?.of).toEqual({ [opcode]: `CMD_${name}` });
    }
  });

  it('has one layout an event, with the number in its own table', () => {
    expect(EVENTS.size).toBe(Object.keys(EVENT_CODE).length);
    for (const [name, code] of Object.entries(EVENT_CODE)) {
      const one = EVENTS.get(code);
      expect(one?.name).toBe(name);
      expect(one?.lanes).toBe(EVENT_BYTES / 4);
      expect(one?.rows['EventNumber']?.of).toEqual({ [code]: name });
    }
    expect(PAGE_REQUEST.lanes).toBe(PAGE_REQUEST_BYTES / 4);
  });

  it('prints a command by name', () => {
    expect(COMMANDS.get(0x46)?.print(new Uint32Array([0x0fc02046, 0, 0, 0]))).toContain('(event)');
  });
});
