// The part of Python's pickle (protocols 2 to 5, Lib/pickletools.py) that torch.save writes for tensors in dicts, lists and tuples. Nothing is
// executed: of the names that a pickle may call, those of tensors, their storages and OrderedDict are known, and all others are errors.
import { FileError } from '../util/errors.ts';
import { printable, show } from '../util/show.ts';

/** Numbers of a file of torch.save: whose elements lie in which entry. */
export interface PickledStorage {
  readonly kind: 'storage';
  /** `FloatStorage` and others. */
  readonly type: string;
  /** Of the entry `data/KEY`. */
  readonly key: string;
  readonly elements: number;
}

export interface PickledTensor {
  readonly kind: 'tensor';
  readonly storage: PickledStorage;
  /** In elements. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly stride: readonly number[];
}

/** A name that may be called. */
interface Callable {
  readonly kind: 'callable';
  readonly name: string;
}

export type Pickled =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | Pickled[]
  | Map<Pickled, Pickled>
  | PickledTensor
  | PickledStorage
  | Callable;

const MARK = Symbol('mark');

const CALLABLES = ['collections.OrderedDict', 'torch._utils._rebuild_tensor_v2', 'torch._utils._rebuild_parameter'];
const STORAGE = /^torch\.((?:Float|Half|BFloat16|Double|Long|Int|Short|Char|Byte|Bool)Storage)$/;

const kindOf = (value: unknown): string | undefined =>
  typeof value === 'object' && value !== null && 'kind' in value ? String(value.kind) : undefined;
const isCount = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0;
const isCounts = (x: unknown): x is number[] => Array.isArray(x) && x.every(isCount);

class Reader {
  readonly #file: string;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  readonly #stack: (Pickled | typeof MARK)[] = [];
  readonly #memo = new Map<number, Pickled>();

  constructor(file: string, bytes: Uint8Array) {
    this.#file = file;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #fail(what: string): FileError {
    return new FileError(this.#file, `data.pkl: ${what}, at byte ${this.#at}`);
  }

  /** The place of the next `count` bytes. */
  #skip(count: number): number {
    if (!(count <= this.#bytes.length - this.#at)) throw this.#fail(`must have ${count} more bytes, got ${this.#bytes.length - this.#at}`);
    this.#at += count;
    return this.#at - count;
  }

  #u8 = (): number => this.#view.getUint8(this.#skip(1));
  #u32 = (): number => this.#view.getUint32(this.#skip(4), true);
  #u64 = (): number => Number(this.#view.getBigUint64(this.#skip(8), true));

  #text(length: number): string {
    const start = this.#skip(length);
    return new TextDecoder().decode(this.#bytes.subarray(start, start + length));
  }

  #line(): string {
    const end = this.#bytes.indexOf(10, this.#at);
    if (end < 0) throw this.#fail('must end a name with a line break');
    const text = this.#text(end - this.#at);
    this.#skip(1);
    return text;
  }

  #pop(): Pickled {
    const value = this.#stack.pop();
    if (value === undefined || value === MARK) throw this.#fail('must have a value to work on');
    return value as Pickled;
  }

  /** What lies above the last mark. */
  #toMark(): Pickled[] {
    const from = this.#stack.lastIndexOf(MARK);
    if (from < 0) throw this.#fail('must have a mark to go back to');
    const values = this.#stack.splice(from) as Pickled[];
    return values.slice(1);
  }

  #tuple(count: number): Pickled[] {
    return Array.from({ length: count }, () => this.#pop()).reverse();
  }

  #global(module: unknown, name: unknown): Callable {
    const full = `${module}.${name}`;
    if (CALLABLES.includes(full) || STORAGE.test(full)) return { kind: 'callable', name: full };
    throw this.#fail(`must hold tensors and plain values alone, got ${printable(full.slice(0, 200))}`);
  }

  #put(index: number): void {
    const top = this.#stack.at(-1);
    if (top === undefined || top === MARK) throw this.#fail('must have a value to remember');
    this.#memo.set(index, top as Pickled);
  }

  #get(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.#fail(`must remember value ${index}`);
    this.#stack.push(value);
  }

  #setItems(pairs: readonly Pickled[]): void {
    const target = this.#stack.at(-1);
    if (!(target instanceof Map) || pairs.length % 2 !== 0) throw this.#fail('must have a dict to put keys and values into');
    for (let i = 0; i < pairs.length; i += 2) target.set(pairs[i] as Pickled, pairs[i + 1] as Pickled);
  }

  #append(values: readonly Pickled[]): void {
    const target = this.#stack.at(-1);
    if (!Array.isArray(target)) throw this.#fail('must have a list to append to');
    for (const value of values) target.push(value);
  }

  #call(callee: Pickled, args: Pickled): Pickled {
    if (kindOf(callee) !== 'callable' || !Array.isArray(args)) throw this.#fail(`must call a known name, got ${show(callee)}`);
    const { name } = callee as Callable;
    if (name === 'collections.OrderedDict' && args.length === 0) return new Map();
    if (name === 'torch._utils._rebuild_parameter' && kindOf(args[0]) === 'tensor') return args[0] as Pickled;
    if (name === 'torch._utils._rebuild_tensor_v2') {
      const [storage, offset, shape, stride] = args;
      if (kindOf(storage) === 'storage' && isCount(offset) && isCounts(shape) && isCounts(stride) && shape.length === stride.length)
        return { kind: 'tensor', storage: storage as PickledStorage, offset, shape, stride };
    }
    throw this.#fail(`${name} must be called with what torch.save gives it, got ${args.length} arguments`);
  }

  #persistent(id: Pickled): PickledStorage {
    const [tag, type, key, , elements] = Array.isArray(id) ? id : [];
    const name = kindOf(type) === 'callable' ? STORAGE.exec((type as Callable).name)?.[1] : undefined;
    if (tag === 'storage' && name !== undefined && typeof key === 'string' && isCount(elements))
      return { kind: 'storage', type: name, key, elements };
    throw this.#fail('must refer to storages of tensors alone');
  }

  /** An integer of so many bytes, little-endian, in two's complement. */
  #long(length: number): number {
    const start = this.#skip(length);
    if (length > 8) throw this.#fail(`must have integers of at most 8 bytes, got ${length}`);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes[start + i] as number);
    return length === 0 ? 0 : Number(BigInt.asIntN(8 * length, value));
  }

  read(): Pickled {
    const push = (value: Pickled): void => void this.#stack.push(value);
    for (;;) {
      const code = this.#u8();
      switch (code) {
        case 0x80: // PROTO
          if (this.#u8() > 5) throw this.#fail('must be of protocol 2 to 5');
          break;
        case 0x95: // FRAME
          this.#skip(8);
          break;
        case 0x2e: // STOP
          return this.#pop();
        case 0x28: // MARK
          this.#stack.push(MARK);
          break;
        case 0x4e: // NONE
          push(null);
          break;
        case 0x88: // NEWTRUE
        case 0x89: // NEWFALSE
          push(code === 0x88);
          break;
        case 0x4b: // BININT1
          push(this.#u8());
          break;
        case 0x4d: // BININT2
          push(this.#view.getUint16(this.#skip(2), true));
          break;
        case 0x4a: // BININT
          push(this.#view.getInt32(this.#skip(4), true));
          break;
        case 0x8a: // LONG1
          push(this.#long(this.#u8()));
          break;
        case 0x47: // BINFLOAT
          push(this.#view.getFloat64(this.#skip(8), false));
          break;
        case 0x58: // BINUNICODE
          push(this.#text(this.#u32()));
          break;
        case 0x8c: // SHORT_BINUNICODE
        case 0x55: // SHORT_BINSTRING
          push(this.#text(this.#u8()));
          break;
        case 0x8d: // BINUNICODE8
          push(this.#text(this.#u64()));
          break;
        case 0x43: // SHORT_BINBYTES
        case 0x42: {
          // BINBYTES
          const length = code === 0x43 ? this.#u8() : this.#u32();
          const start = this.#skip(length);
          push(this.#bytes.slice(start, start + length));
          break;
        }
        case 0x7d: // EMPTY_DICT
          push(new Map());
          break;
        case 0x5d: // EMPTY_LIST
        case 0x29: // EMPTY_TUPLE
          push([]);
          break;
        case 0x74: // TUPLE
        case 0x6c: // LIST
          push(this.#toMark());
          break;
        case 0x85: // TUPLE1
        case 0x86: // TUPLE2
        case 0x87: // TUPLE3
          push(this.#tuple(code - 0x84));
          break;
        case 0x61: // APPEND
          this.#append(this.#tuple(1));
          break;
        case 0x65: // APPENDS
          this.#append(this.#toMark());
          break;
        case 0x73: // SETITEM
          this.#setItems(this.#tuple(2));
          break;
        case 0x75: // SETITEMS
          this.#setItems(this.#toMark());
          break;
        case 0x71: // BINPUT
          this.#put(this.#u8());
          break;
        case 0x72: // LONG_BINPUT
          this.#put(this.#u32());
          break;
        case 0x94: // MEMOIZE
          this.#put(this.#memo.size);
          break;
        case 0x68: // BINGET
          this.#get(this.#u8());
          break;
        case 0x6a: // LONG_BINGET
          this.#get(this.#u32());
          break;
        case 0x63: {
          // GLOBAL
          const module = this.#line();
          push(this.#global(module, this.#line()));
          break;
        }
        case 0x93: {
          // STACK_GLOBAL
          const [module, name] = this.#tuple(2);
          push(this.#global(module, name));
          break;
        }
        case 0x52: {
          // REDUCE
          const [callee, args] = this.#tuple(2) as [Pickled, Pickled];
          push(this.#call(callee, args));
          break;
        }
        case 0x62: // BUILD: attributes of an OrderedDict, `_metadata` of a state_dict; they are left out
          this.#pop();
          if (!(this.#stack.at(-1) instanceof Map)) throw this.#fail('must set attributes of dicts alone');
          break;
        case 0x51: // BINPERSID
          push(this.#persistent(this.#pop()));
          break;
        default:
          throw this.#fail(`must hold tensors and plain values alone, got opcode ${code}`);
      }
    }
  }
}

/** What a pickle holds. @throws FileError for anything but tensors, numbers, texts, bytes, lists, tuples and dicts */
export function readPickle(file: string, bytes: Uint8Array): Pickled {
  return new Reader(file, bytes).read();
}
