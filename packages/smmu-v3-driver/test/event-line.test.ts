import type { IommuDevice } from '@iommukit/iommu-core';
import { ERRNO, PhysicalMemory } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import {
  DRIVER_PROFILES,
  decodeEvent,
  eventLines,
  handleEvent,
  handleGlobalErrors,
  type LogLine,
  resumeResponse,
  skipBadCommand,
  unexpectedPageRequest,
} from '../src/index.ts';
import { idsWith } from './fake-smmu.lanes.ts';
import { probed, Rig } from './rig.ts';

/** A record from its four doublewords. */
const record = (...words: bigint[]): ReturnType<typeof decodeEvent> =>
  decodeEvent(new Uint32Array(words.flatMap((w) => [Number(w & 0xffff_ffffn), Number(w >> 32n)])));
const texts = (lines: readonly LogLine[]): string[] => lines.map(({ text }) => text);
const decoded = DRIVER_PROFILES['7.3'];

describe('the decoded lines of 7.x', () => {
  const last = (words: bigint[], client: string | null = null): string[] =>
    texts(eventLines(record(...words), client, decoded)).slice(5);

  test('a translation fault: privileged instruction read of stage 2, stalled', () => {
    const q1 = 0x45n + (1n << 31n) + (0x7n << 33n) + (1n << 39n) + (2n << 40n);
    expect(last([0x1000_0000_5810n & ~0n, q1, 0x8000_7123n, 0xb_8abcn], '0000:01:00.1')).toEqual([
      'event: F_TRANSLATION client: 0000:01:00.1 sid: 0x1000 ssid: 0x5 iova: 0x80007123 ipa: 0xb8000',
      'priv inst read s2 "Input address caused fault" stall stag: 0x45',
    ]);
  });

  test('a permission fault on a walk says whether the descriptor was read', () => {
    const tt = 1n << 40n;
    expect(last([0x8_0000_0013n, tt, 0n, 0n])[1]).toBe(
      'unpriv data write s1 "Stage 1 translation table fetch" ttd_write stag: 0x0',
    );
    expect(last([0x8_0000_0013n, tt + (1n << 44n), 0n, 0n])[1]).toBe(
      'unpriv data write s1 "Stage 1 translation table fetch" ttd_read stag: 0x0',
    );
    // Other faults have no such field.
    expect(last([0x8_0000_0010n, tt + (1n << 44n), 0n, 0n])[1]).not.toContain('ttd');
  });

  test.each([
    [0x03n, 'F_STE_FETCH', ' fetch_addr: 0x12348'],
    [0x09n, 'F_CD_FETCH', ' fetch_addr: 0x12348'],
    [0x25n, 'F_VMS_FETCH', ' fetch_addr: 0x12348'],
    [0x02n, 'C_BAD_STREAMID', ''],
    [0x0an, 'C_BAD_CD', ''],
    [0x20n, 'UNKNOWN', ''],
  ])('event %i', (code, name, rest) => {
    expect(last([0x8_0000_0000n + code, 0n, 0n, 0x1_234fn])).toEqual([
      `event: ${name} client: (unassigned sid) sid: 0x8 ssid: 0x0${rest}`,
    ]);
  });

  test('every line at error level; before 7.x five at info level', () => {
    const event = record(0x8_0000_0010n, 0n, 0n, 0n);
    expect(eventLines(event, null, decoded).map(({ level }) => level)).toEqual(
      Array(7).fill('err'),
    );
    expect(eventLines(event, null, DRIVER_PROFILES['6.12']).map(({ level }) => level)).toEqual(
      Array(5).fill('info'),
    );
  });
});

describe('who handles an event', () => {
  const STALL = 1n << 31n;
  const ask = (words: bigint[], kernel: '6.12' | '7.3', answer = 0): number =>
    handleEvent(
      record(...words),
      { deviceOf: (sid) => (sid === 8 ? 'dev' : undefined), report: () => answer },
      DRIVER_PROFILES[kernel],
    );

  test.each([
    ['a stalled fault', [0x8_0000_0010n, STALL, 0n, 0n], 0, 0],
    ['that nobody took', [0x8_0000_0010n, STALL, 0n, 0n], -ERRNO.EINVAL, 0],
    ['of an unknown stream', [0x9_0000_0010n, STALL, 0n, 0n], 0, -ERRNO.EINVAL],
    ['without stall', [0x8_0000_0010n, 0n, 0n, 0n], 0, -ERRNO.EOPNOTSUPP],
    ['without stall, of an unknown stream', [0x9_0000_0010n, 0n, 0n, 0n], 0, -ERRNO.EOPNOTSUPP],
    ['a bad CD, stalled', [0x8_0000_000an, STALL, 0n, 0n], 0, -ERRNO.EOPNOTSUPP],
  ])('6.12: %s', (_name, words, answer, want) => {
    expect(ask(words, '6.12', answer)).toBe(want);
  });

  test.each([
    ['a stalled fault', [0x8_0000_0010n, STALL, 0n, 0n], 0, 0],
    ['that nobody took', [0x8_0000_0010n, STALL, 0n, 0n], -ERRNO.EINVAL, -ERRNO.EINVAL],
    ['without stall, of an unknown stream', [0x9_0000_0010n, 0n, 0n, 0n], 0, -ERRNO.EINVAL],
    ['a bad CD, stalled', [0x8_0000_000an, STALL, 0n, 0n], 0, 0],
    ['a bad stream id', [0x8_0000_0002n, STALL, 0n, 0n], 0, -ERRNO.EOPNOTSUPP],
  ])('7.3: %s', (_name, words, answer, want) => {
    expect(ask(words, '7.3', answer)).toBe(want);
  });

  test('the driver hands a stalled fault on and lets it retry', () => {
    const seen: unknown[] = [];
    const rig = new Rig({
      ids: idsWith({ idr0: { STALL_MODEL: 0 } }),
      profile: decoded,
      parts: {
        reportFault: (device: IommuDevice, fault) => {
          seen.push([device.name, fault.grpid, fault.perm, fault.pasid]);
          return 0;
        },
        traitsOf: () => ({ stall: true }),
      },
    });
    const driver = rig.up();
    const dev = probed(driver, 'a', [8]);
    rig.smmu.publish([0x8_0000_5810n, STALL + 0x77n + (1n << 35n), 0x1000n, 0n]);
    driver.evtq.thread();
    expect(seen).toEqual([['a', 0x77, 1, 5]]);
    expect(rig.log).toEqual([]);
    const fault = { addr: { lo: 0, hi: 0 }, pasid: 5, perm: 1, grpid: 0x77, lastPage: true };
    driver.pageResponse(dev, fault, 'success');
    driver.pageResponse(dev, fault, 'failure');
    expect(rig.smmu.commands).toEqual([
      [0x8_0000_1044n, 0x77n],
      [0x8_0000_2044n, 0x77n],
    ]);
  });

  test('the device is named, and the limiter is the function that prints', () => {
    const rig = new Rig({ profile: decoded });
    const driver = rig.up();
    probed(driver, '0000:00:02.0', [8]);
    for (let i = 0; i < 11; i++) {
      rig.smmu.publish([0x8_0000_0002n, 0n, 0n, 0n]);
      driver.evtq.thread();
    }
    expect(rig.log).toHaveLength(60);
    expect(rig.log[5]?.text).toBe('event: C_BAD_STREAMID client: 0000:00:02.0 sid: 0x8 ssid: 0x0');
    rig.platform.clock.advance(6_000_000);
    rig.forget();
    rig.smmu.publish([0x8_0000_0002n, 0n, 0n, 0n]);
    driver.evtq.thread();
    expect(rig.log[0]?.text).toBe('arm_smmu_dump_event: 1 callbacks suppressed');
  });
});

test.each([
  [0, 1],
  [1, 2],
  [2, 2],
  [3, 0],
])('page response %i is RESUME %i', (code, response) => {
  expect(resumeResponse(code)).toBe(response);
});

const lanes = (...words: bigint[]): number[] =>
  words.flatMap((w) => [Number(w & 0xffff_ffffn), Number(w >> 32n)]);

test('page requests are printed; the last of a group is denied', () => {
  const one = unexpectedPageRequest(lanes(0xe004_4a76_e0a4_519an, 0x1a05_1b02_9705_c173n));
  expect(texts(one.lines)).toEqual([
    'unexpected PRI request received:',
    '\tsid 0xe0a4519a.0x44a76: [371L] unprivileged W access at iova 0x1a051b029705c000',
  ]);
  expect(one.response).toEqual({
    streamId: 0xe0a4_519a,
    substreamId: 0x44a76,
    ssv: true,
    group: 371,
    response: 0,
  });
  expect(unexpectedPageRequest(lanes(0x1001_3bb5_7f72_7cc0n, 0n)).response).toBeNull();
});

describe('global errors', () => {
  const run = (
    gerror: number,
    gerrorn: number,
  ): { lines: string[]; done: string[]; any: boolean } => {
    const lines: LogLine[] = [];
    const done: string[] = [];
    const any = handleGlobalErrors({
      gerror,
      gerrorn,
      log: (line) => lines.push(line),
      disable: () => void done.push('disable'),
      skipCommand: () => void done.push('skip'),
    });
    return { lines: lines.map(({ level, text }) => `${level}: ${text}`), done, any };
  };

  test('none, and bits that Linux does not know', () => {
    expect(run(0x5, 0x5)).toEqual({ lines: [], done: [], any: false });
    expect(run(0x2, 0)).toEqual({ lines: [], done: [], any: false });
  });

  test('all at once, in the order of the kernel', () => {
    expect(run(0x1fd, 0)).toEqual({
      any: true,
      done: ['disable', 'skip'],
      lines: [
        'warn: unexpected global error reported (0x000001fd), this could be serious',
        'err: device has entered Service Failure Mode!',
        'warn: GERROR MSI write aborted',
        'warn: PRIQ MSI write aborted',
        'warn: EVTQ MSI write aborted',
        'warn: CMDQ MSI write aborted',
        'err: PRIQ write aborted -- events may have been lost',
        'err: EVTQ write aborted -- events may have been lost',
      ],
    });
  });

  test.each([
    [0, 'No error', [], false],
    [1, 'Illegal command', ['skipping command in error state:'], true],
    [2, 'Abort on command fetch', ['retrying command fetch'], false],
    [3, 'ATC invalidate timeout', [], false],
    [9, 'Unknown', ['skipping command in error state:'], true],
  ] as const)('command queue error %i', (error, name, more, replaced) => {
    const memory = new PhysicalMemory([{ base: 0x1000, size: 0x1000 }]);
    memory.store64(0x1050, 0xff, 0);
    memory.store64(0x1058, 0x1234, 0);
    const lines: string[] = [];
    const cons = error * 2 ** 24 + 5;
    skipBadCommand({ memory, base: 0x1000, lg2: 4, cons, log: ({ text }) => lines.push(text) });
    const words = replaced ? ['\t0x00000000000000ff', '\t0x0000000000001234'] : [];
    const at = `cons 0x${cons.toString(16).padStart(8, '0')}`;
    expect(lines).toEqual([`CMDQ error (${at}): ${name}`, ...more, ...words]);
    expect(memory.load64(0x1050)).toBe(replaced ? 0xfc0_2046 : 0xff);
    expect(memory.load64(0x1058)).toBe(replaced ? 0 : 0x1234);
  });
});
