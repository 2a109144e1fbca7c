"""Writers of electrocardiograms in every format that is read, with faults where a test wants them."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np

from cardiozoo.data.ecg import LEADS

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


def heart(samples: int = 5000, rate: float = 500.0, seed: int = 0, gain: float = 200.0) -> np.ndarray:
    """int16 (12, samples): noisy beats at 75 a minute that obey Einthoven and Goldberger to the unit, in ADC units."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / rate
    phase = time % 0.8
    shapes = [(0.16, 0.020, 0.12), (0.300, 0.010, -0.1), (0.320, 0.010, 1.0), (0.345, 0.011, -0.25), (0.58, 0.04, 0.3)]
    waves = np.array([height * np.exp(-0.5 * ((phase - at) / width) ** 2) for at, width, height in shapes])
    mix = rng.uniform(0.4, 1.2, size=(8, len(waves)))
    signal = mix @ waves + rng.normal(0, 0.01, size=(8, samples))
    eight = 2 * np.rint(signal * gain / 2).astype(np.int16)  # even, so that the halves of Goldberger are whole
    one, two = eight[0], eight[1]
    limbs = [one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2]
    return np.stack([*limbs, *eight[2:]]).astype(np.int16)


def write_wfdb(
    folder: Path,
    name: str,
    digital: np.ndarray,
    names: tuple[str, ...] = LEADS,
    rate: float = 500,
    gains: list[str] | str = "200.0(0)/mV",
    form: str = "16",
    suffix: str = "dat",
    zero: int = 0,
    comments: tuple[str, ...] = (),
    files: int = 1,
    start: str = "",
) -> Path:
    """A header and its signal files, by hand; the header."""
    gains = [gains] * len(names) if isinstance(gains, str) else gains
    lines = [f"{name} {len(names)} {rate:g} {digital.shape[1]} {start}".strip()]
    share = -(-len(names) // files)
    offset = int(form.partition("+")[2] or 0)
    for number in range(files):
        part = digital[number * share : (number + 1) * share]
        file = f"{name}.{suffix}" if files == 1 else f"{name}_{number}.{suffix}"
        (folder / file).write_bytes(b"\x07" * offset + part.T.astype("<i2").tobytes())
    for place, lead in enumerate(names):
        file = f"{name}.{suffix}" if files == 1 else f"{name}_{place // share}.{suffix}"
        checksum = int(digital[place].sum(dtype=np.int64)) & 0xFFFF
        lines.append(f"{file} {form} {gains[place]} 16 {zero} {digital[place, 0]} {checksum} 0 {lead}")
    header = folder / f"{name}.hea"
    header.write_text("\n".join([*lines, *comments]) + "\n")
    return header


def write_mimic(folder: Path, digital: np.ndarray, name: str = "45106466") -> Path:
    """As MIMIC-IV-ECG: aVF before aVL, gain 200, time and date, the patient in a comment."""
    names = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
    rows = digital[[LEADS.index(lead) for lead in names]]
    comments = ("# <subject_id>: 12177274",)
    return write_wfdb(folder, name, rows, names, comments=comments, start="12:04:00 22/09/2182")


def muse_waveform(digital: np.ndarray, names: tuple[str, ...], kind: str = "Rhythm", **options: object) -> str:
    """A Waveform element. Options: base, exponent, per_bit, units, wrap (columns of base64), off (leads), count."""
    leads = []
    for name, row in zip(names, digital, strict=True):
        content = base64.b64encode(row.astype("<i2").tobytes()).decode()
        if wrap := options.get("wrap"):
            content = "\r\n".join(content[i : i + wrap] for i in range(0, len(content), wrap))
        leads.append(
            f"<LeadData><LeadByteCountTotal>{2 * len(row)}</LeadByteCountTotal><LeadTimeOffset>0</LeadTimeOffset>"
            f"<LeadSampleCountTotal>{options.get('count', len(row))}</LeadSampleCountTotal>"
            f"<LeadAmplitudeUnitsPerBit>{options.get('per_bit', 4.88)}</LeadAmplitudeUnitsPerBit>"
            f"<LeadAmplitudeUnits>{options.get('units', 'MICROVOLTS')}</LeadAmplitudeUnits><LeadID>{name}</LeadID>"
            f"<LeadOffsetFirstSample>0</LeadOffsetFirstSample><LeadSampleSize>2</LeadSampleSize>"
            f"<LeadOff>{'TRUE' if name in options.get('off', ()) else 'FALSE'}</LeadOff>"
            f"<WaveFormData>\r\n{content}\r\n</WaveFormData></LeadData>"
        )
    return (
        f"<Waveform><WaveformType>{kind}</WaveformType><NumberofLeads>{len(names)}</NumberofLeads>"
        f"<SampleType>CONTINUOUS_SAMPLES</SampleType><SampleBase>{options.get('base', 500)}</SampleBase>"
        f"<SampleExponent>{options.get('exponent', 0)}</SampleExponent>{''.join(leads)}</Waveform>"
    )


def write_muse(
    path: Path, *waveforms: str, declared: str = "ISO-8859-1", written: str = "latin-1", top: str = ""
) -> Path:
    """A RestingECG of the given waveforms."""
    text = (
        f'<?xml version="1.0" encoding="{declared}"?>\n{top or "<!DOCTYPE RestingECG SYSTEM "}'
        f"{'' if top else chr(34) + 'restecg.dtd' + chr(34) + '>'}<RestingECG><PatientDemographics>"
        "<PatientID>P77</PatientID><PatientAge>61</PatientAge><AgeUnits>YEARS</AgeUnits><Gender>FEMALE</Gender>"
        "<PatientLastName>Müller</PatientLastName></PatientDemographics><TestDemographics>"
        "<AcquisitionTime>09:22:31</AcquisitionTime><AcquisitionDate>02-17-2011</AcquisitionDate></TestDemographics>"
        f"{''.join(waveforms)}</RestingECG>"
    )
    path.write_bytes(text.encode(written))
    return path


def write_cardiosoft(
    path: Path,
    digital: np.ndarray,
    names: tuple[str, ...] = LEADS,
    resolution: str = "5",
    count: int | None = None,
    announced: int = 12,
    nested: bool = False,
) -> Path:
    """A CardiologyXML with a median block of another resolution before the strip, tabs and a comma too many."""

    def block(tag: str, rows: np.ndarray, step: str, total: int) -> str:
        leads = "".join(
            f'<WaveformData lead="{name}">\n\t\t' + ",\n\t".join(map(str, row)) + ",\n</WaveformData>"
            for name, row in zip(names, rows, strict=True)
        )
        return (
            f'<{tag}><NumberOfLeads>{announced}</NumberOfLeads><SampleRate units="Hz">500</SampleRate>'
            f"<ChannelSampleCountTotal>{total}</ChannelSampleCountTotal>"
            f'<Resolution units="uVperLsb">{step}</Resolution>'
            f"{leads}</{tag}>"
        )

    median = block("MedianSamples", digital[:, :600] // 2, "7", 600)
    strip = block("StripData", digital, resolution, digital.shape[1] if count is None else count)
    path.write_text(
        '<?xml version="1.0" encoding="ISO8859-1"?><CardiologyXML><ObservationType>RestECG</ObservationType>'
        "<ObservationDateTime><Hour>9</Hour><Minute>5</Minute><Second>1</Second><Day>3</Day><Month>11</Month>"
        "<Year>2015</Year></ObservationDateTime><PatientInfo><PID>1234567</PID><Age units='years'>58</Age>"
        "<Gender>MALE</Gender></PatientInfo><Interpretation><Diagnosis><DiagnosisText>Poor data quality"
        "</DiagnosisText></Diagnosis></Interpretation>"
        f"<RestingECGMeasurements>{median}</RestingECGMeasurements>"
        f"{'<Strip>' if nested else ''}{strip}{'</Strip>' if nested else ''}</CardiologyXML>",
        encoding="latin-1",
    )
    return path


def write_dicom(path: Path, *groups: dict, big: bool = False, **header: object) -> Path:
    """A waveform object; a group has samples (channels, n), names, rate, and optionally label, originality, bits,
    coding, sensitivity, correction, baseline, units, padding, offset (ms) and vr (OB or OW); big: high bytes first."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, generate_uid

    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRBigEndian if big else ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = "1.2.840.10008.5.1.4.1.1.9.1.1"
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
    for name, value in {"PatientID": "D1", "PatientAge": "018M", "PatientSex": "M", **header}.items():
        setattr(file, name, value)
    file.WaveformSequence = [_group(big=big, **group) for group in groups]
    file.save_as(path, enforce_file_format=True)
    return path


def _group(samples: np.ndarray, names: tuple[str, ...], rate: float = 500, **options):
    from pydicom.dataset import Dataset

    group = Dataset()
    bits = options.get("bits", 16)
    vr = options.get("vr", "OB" if bits == 8 else "OW")
    coding = options.get("coding", "SS")
    kind = {"SS": "<i2", "US": "<u2", "SB": "i1", "UB": "u1", "SL": "<i4"}[coding]
    if options["big"] and bits > 8:
        kind = kind.replace("<", ">")

    def encoded(values: np.ndarray) -> bytes:
        content = values.astype(kind).tobytes()
        content += b"\0" * (len(content) % 2)
        if options["big"] and bits == 8 and vr == "OW":  # two samples share a word
            content = bytes(content[place ^ 1] for place in range(len(content)))
        return content

    if "offset" in options:
        group.MultiplexGroupTimeOffset = options["offset"]
    group.MultiplexGroupLabel = options.get("label", "RHYTHM")
    group.WaveformOriginality = options.get("originality", "ORIGINAL")
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = samples.shape
    group.SamplingFrequency = rate
    group.WaveformBitsAllocated = bits
    group.WaveformSampleInterpretation = coding
    if "padding" in options:
        group.add_new(0x5400100A, vr, encoded(np.array(options["padding"])))
    definitions = []
    for name in names:
        channel, source, unit = Dataset(), Dataset(), Dataset()
        source.CodeValue, source.CodingSchemeDesignator, source.CodeMeaning = (
            f"MDC_ECG_LEAD_{name.upper()}",
            "MDC",
            name,
        )
        channel.ChannelSourceSequence = [source]
        channel.WaveformBitsStored = bits
        if options.get("sensitivity", 5) is not None:
            unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = options.get("units", "uV"), "UCUM", "unit"
            channel.ChannelSensitivity = options.get("sensitivity", 5)
            channel.ChannelSensitivityUnitsSequence = [unit]
            channel.ChannelSensitivityCorrectionFactor = options.get("correction", 1)
            channel.ChannelBaseline = options.get("baseline", 0)
        definitions.append(channel)
    group.ChannelDefinitionSequence = definitions
    group.add_new(0x54001010, vr, encoded(samples.T))
    return group
