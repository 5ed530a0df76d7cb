import { IommuError } from '@iommukit/bits';

/**
 * What broke a rule, as text: addresses in hexadecimal.
 * @example error.operands.expected // '0x80001000'
 */
export interface DriverContractOperands {
  /** Name of the subject. */
  readonly subject: string;
  /** The rule, or the step of it, that was broken. */
  readonly rule: string;
  readonly expected: string;
  readonly got: string;
}

/**
 * A driver did not keep a rule of the contract; code `DRIVER_CONTRACT`.
 * @example try { oneCase.run(); } catch (e) { report((e as DriverContractError).operands); }
 */
export class DriverContractError extends IommuError<DriverContractOperands> {
  override readonly name = 'DriverContractError';
  constructor(operands: DriverContractOperands) {
    const { subject, rule, expected, got } = operands;
    super(
      'DRIVER_CONTRACT',
      operands,
      `${subject}: ${rule}: expected ${expected}, got ${got}`,
      'Correct the driver, or what the subject says of its hardware',
    );
  }
}
