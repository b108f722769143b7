import { Player } from 'seamcast';
import Listener from './listener.jsx';

/** A server component: the package is imported, and asked, where there is no browser. */
export default function Page() {
  return (
    <main>
      <p>mp3: {Player.canPlayType('audio/mpeg')}, here: {String(Player.isSupported().supported)}</p>
      <Listener />
    </main>
  );
}
