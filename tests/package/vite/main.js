import { Player } from 'seamcast';
import { StreamDecoder } from 'seamcast/decoder';
import 'seamcast/element';
import { check } from './check.js';

check({ Player, StreamDecoder });
