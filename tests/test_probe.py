import time

from conftest import Ward


def test_probe(ward: Ward):
    if ward.server.version != "18":
        return
    for outage in (3, 12, 40):
        for who in ("idle", "asked"):
            assert ward.ask("GET", "/api/alice/tasks").status_code == 200
            with ward.server.connect("postgres") as c:
                c.execute(f"alter database {ward.database} allow_connections false")
                ward.disconnect()
                t0 = time.time()
                n = 0
                while time.time() - t0 < outage:
                    if who == "asked":
                        ward.ask("GET", "/api/alice/tasks")
                        n += 1
                        time.sleep(0.2)
                    else:
                        if n == 0:
                            ward.ask("GET", "/api/alice/tasks")
                            n += 1
                        time.sleep(0.1)
                c.execute(f"alter database {ward.database} allow_connections true")
            t0 = time.time()
            while ward.ask("GET", "/api/alice/tasks").status_code != 200:
                time.sleep(0.1)
                if time.time() - t0 > 120:
                    break
            print("OUTAGE", outage, who, n, "recovered after", round(time.time() - t0, 1), flush=True)
