import { HeddleError } from '../util/errors.ts';

/** The native binary is not there, or the system's loader refused it. The message names platform, path and the loader's own words. */
export class NativeLoadError extends HeddleError {
  /** `linux-x64 (glibc 2.36)` and the like. */
  readonly platform: string;
  /** The binary that was tried; undefined when none was found for this platform. */
  readonly path: string | undefined;

  constructor(message: string, options: { platform: string; path?: string; hint: string; cause?: unknown }) {
    super('ERR_HEDDLE_NATIVE_LOAD', message, options);
    this.platform = options.platform;
    this.path = options.path;
  }
}
