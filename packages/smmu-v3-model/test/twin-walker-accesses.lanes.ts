/*
 * Generated accesses for the twin: to addresses that the tables of a case map, then a few that they do not.
 */
import { type TwinAttributes, twinConsistent } from './twin-walker-attributes.lanes.ts';
import type { TwinAccess } from './twin-walker-run.lanes.ts';
import type { Dice } from './twin-walker-space.lanes.ts';

/** An address that was mapped, the bytes around it, and whether its top byte is ignored. */
export interface MappedInput {
  readonly address: bigint;
  readonly ssid: number | undefined;
  readonly span: bigint;
  readonly tbi: boolean;
}

/** Eight accesses, most of them to what the tables map. */
export function twinAccesses(
  dice: Dice,
  inputs: readonly MappedInput[],
  at: { readonly sid: number; readonly cdMax: number },
): TwinAccess[] {
  const { sid, cdMax } = at;
  const all: TwinAccess[] = [];
  for (let i = 0; i < 8; i++) {
    const input = dice.pick(inputs);
    let address = input.address + (dice.wide(40) & (input.span - 1n));
    if (input.tbi && dice.chance(70))
      address = (address & (2n ** 56n - 1n)) | (dice.wide(8) << 56n);
    if (dice.chance(6)) address ^= 1n << BigInt(dice.below(64));
    if (dice.chance(3)) address = dice.wide(64);
    const write = dice.chance(40);
    const atomic = write && dice.chance(15);
    let ssid = input.ssid;
    if (dice.chance(3)) ssid = dice.chance(50) ? undefined : dice.below(2 ** Math.max(1, cdMax));
    all.push({
      sid: dice.chance(2) ? dice.below(2 ** 12) : sid,
      ssid,
      address,
      write,
      ...(atomic ? { atomic } : {}),
      privileged: dice.chance(35),
      instruction: dice.chance(20),
      ...(dice.chance(30) ? { attributes: incoming(dice) } : {}),
    });
  }
  return all;
}

/** What a device may send: both cache levels alike, consistent (13.1.7). */
function incoming(dice: Dice): TwinAttributes {
  const policy = dice.pick(['NC', 'WT', 'WB', 'WB'] as const);
  const type = dice.pick(['Normal', 'Normal', 'Normal', 'Device-nGnRE', 'Device-GRE'] as const);
  const none = type !== 'Normal' || policy === 'NC';
  const level = {
    policy: none ? 'NC' : policy,
    readAllocate: !none && dice.chance(60),
    writeAllocate: !none && dice.chance(60),
    transient: !none && dice.chance(30),
  } as const;
  return twinConsistent({
    type,
    inner: level,
    outer: level,
    shareability: dice.pick(['NSH', 'ISH', 'OSH']),
  });
}
