import { Player } from 'seamcast';
import { StreamDecoder } from 'seamcast/decoder';
import { check } from './check.js';

check({ Player, StreamDecoder });
