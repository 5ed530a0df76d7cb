import { FIXED_WORDS, type QueueWords } from './queue-words.lanes.ts';

// Indexes of the shared words.
const PROD = 0;
const CONS = 1;
const LOCK = 2;
const OWNER = 3;
const VALID = FIXED_WORDS;

/** Bit 31 of the shared PROD: somebody will move the hardware's PROD over what was reserved (`CMDQ_PROD_OWNED_FLAG`). */
const OWNED = -0x8000_0000;
const POSITION = 0x7fff_ffff;
/** What the lock holds while one producer moves CONS: below 0, whatever others add (`INT_MIN`). */
const EXCLUSIVE = -0x8000_0000;

/**
 * What the producers of a command queue agree on: who reserved which entries, which of them are written, who publishes, and whether the
 * consumer's index may be moved (`struct arm_smmu_cmdq`). Every access to shared memory is one call of {@link QueueWords}.
 *
 * The kernel swaps PROD and its copy of CONS as one doubleword, lest PROD come round to an old value beside a newer CONS. Here PROD
 * counts to 2^31 before it repeats, which gives the same without a doubleword; index and wrap bit are its low bits. CONS is as the
 * register has it.
 */
export class CommandRing {
  /** First entry of the last reservation. */
  start = 0;
  /** 1: who made that reservation publishes for all who reserve until it does. */
  owner: 0 | 1 = 0;
  readonly lg2: number;
  readonly #words: QueueWords;
  readonly #size: number;
  readonly #mask: number;

  constructor(words: QueueWords, lg2: number) {
    this.#words = words;
    this.lg2 = lg2;
    this.#size = 2 ** lg2;
    this.#mask = 2 * this.#size - 1;
  }

  /** PROD with its wrap bit, reserved entries included. */
  get prod(): number {
    return this.register(this.#words.load(PROD));
  }

  /** CONS as producers last saw it. */
  get cons(): number {
    return this.#words.load(CONS);
  }

  /** Starts again from index 0; no producer may be at work. */
  reset(): void {
    const words = this.#words;
    for (let i = 0; i < VALID + Math.ceil(this.#size / 32); i++) words.store(i, 0);
  }

  /** A position (0 to 2^31 - 1) as the registers have it: index and wrap bit. */
  register(position: number): number {
    return position & this.#mask;
  }

  /** The position `count` (0 to 2^lg2) entries further, modulo 2^31. */
  advance(position: number, count: number): number {
    return (position + count) & POSITION;
  }

  /** Reserves 1 to 2^lg2 entries and leaves them in `start` and `owner`; false without room. */
  tryReserve(count: number): boolean {
    const words = this.#words;
    for (;;) {
      const prod = words.load(PROD);
      // Read after PROD: if PROD is still the same at the swap, this CONS was not behind an older one.
      const used = (prod - words.load(CONS)) & this.#mask;
      if (used + count > this.#size) return false;
      if (!words.cas(PROD, prod, this.advance(prod, count) | OWNED)) continue;
      this.start = prod & POSITION;
      this.owner = prod < 0 ? 0 : 1;
      return true;
    }
  }

  /** Takes the lock for who alone moves CONS; false while a producer waits for a SYNC or another has it. */
  tryLockExclusive(): boolean {
    return this.#words.cas(LOCK, 0, EXCLUSIVE);
  }

  /** Gives CONS, as read from the register with the lock held, to all producers and ends the exclusive lock. */
  unlockExclusive(cons: number): void {
    this.#words.store(CONS, cons);
    // What others added to the count in the meantime goes too: they saw that it was negative and try again.
    this.#words.store(LOCK, 0);
  }

  /** Keeps CONS where it is until the producer's SYNC is done, so that its entries are not reused; false while somebody moves CONS. */
  tryLockShared(): boolean {
    return this.#words.add(LOCK, 1) >= 0;
  }

  /** As `tryLockShared`, once that has failed. */
  retryLockShared(): boolean {
    const count = this.#words.load(LOCK);
    return count >= 0 && this.#words.cas(LOCK, count, count + 1);
  }

  /** Ends the shared lock; the last one out moves CONS to what it saw. */
  unlockShared(cons: number): void {
    const words = this.#words;
    if (words.load(LOCK) === 1) words.store(CONS, cons);
    words.add(LOCK, -1);
  }

  /** Marks entries as written: flips their bits, so that the bits need no clearing when the ring comes round. */
  setValid(start: number, count: number): void {
    for (let at = start, left = count; left > 0; ) {
      const bits = this.#bitsOfWord(at, left);
      const index = at & (this.#size - 1);
      this.#words.xor(VALID + (index >>> 5), maskOf(index, bits));
      at = this.advance(at, bits);
      left -= bits;
    }
  }

  /** The first entry of [start, end) that is not written, or `end`. Entries before it need no second look. */
  firstInvalid(start: number, end: number): number {
    let at = start;
    while (at !== end) {
      const bits = this.#bitsOfWord(at, (end - at) & POSITION);
      const index = at & (this.#size - 1);
      const mask = maskOf(index, bits);
      // In an even round written entries have their bit set, in an odd one cleared.
      const want = (at & this.#size) === 0 ? mask : 0;
      if ((this.#words.load(VALID + (index >>> 5)) & mask) !== want) return at;
      at = this.advance(at, bits);
    }
    return at;
  }

  /** True when all before `start` was published. */
  isOwnersTurn(start: number): boolean {
    return this.#words.load(OWNER) === start;
  }

  /** Closes the run of reservations that an owner publishes; its end. The next to reserve is the next owner. */
  closeRun(): number {
    return this.#words.and(PROD, POSITION) & POSITION;
  }

  /** Lets the next owner go on. */
  passOwnership(end: number): void {
    this.#words.store(OWNER, end);
  }

  /** How many of `left` entries from `position` have their bit in the same word of the same round. */
  #bitsOfWord(position: number, left: number): number {
    const untilWord = 32 - (position & 31);
    const untilEnd = this.#size - (position & (this.#size - 1));
    return Math.min(left, untilWord, untilEnd);
  }
}

/** Bits of `count` (1 to 32) entries from `index` on in their word, which holds all of them. */
function maskOf(index: number, count: number): number {
  return count === 32 ? -1 : ((1 << count) - 1) << (index & 31);
}
